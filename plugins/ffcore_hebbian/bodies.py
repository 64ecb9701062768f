"""The convolution of SoftHebb's networks.

    x̂ = batch-norm(x)                           without parameters
    u = W ∗ x̂                                   reflection padding, no bias
    h = pool(ReLU(u − mean_c u)^p)              the "triangle" activation: channels compete at every position

R rows; C channels of H by W pixels; U output channels; x (R, C, H, W); u (R, U, H, W).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.options import Fraction, Natural, Positive, Size
from ffcore_hebbian.self_contrastive import triangle
from ffcore_resnet.convolution import refuse_other_than_images


class TriangleConv(nn.Module):
    """Batch norm, convolution, triangle activation and pooling.

    Journé, Garcia Rodriguez, Guo and Moraitis 2023 (SoftHebb), arXiv:2209.11883.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        channels: number of output channels U.
        kernel: side of the filters, odd.
        power: p.
        pool: side of the pooling; 1 for none.
        overlap: how much larger the windows of the pooling are than their distance ``pool``; even, so that
            they reach as far to both sides.
        pooling: "max" or "average".
        radius: expected length of the initial weights of a channel, R: they are normal with deviation
            R/√(C·kernel²). The rule shrinks lengths to 1.
        momentum: weight of a batch in the running statistics of the batch norm.

    Raises:
        ValueError: when samples are not images, an image is too small, or the overlap is odd.
    """

    examples = ({"channels": 6, "pool": 2}, {"channels": 4, "kernel": 5, "pooling": "average", "pool": 2})

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: Size,
        kernel: Size = 3,
        power: Positive = 1.0,
        pool: Size = 1,
        overlap: Natural = 0,
        pooling: Literal["max", "average"] = "max",
        radius: Positive = 25.0,
        momentum: Fraction = 0.1,
    ) -> None:
        super().__init__()
        refuse_other_than_images(in_shape, kernel)
        if min(in_shape[1:]) < max(pool, kernel // 2 + 1):
            raise ValueError(
                f"an image of {in_shape[1]}×{in_shape[2]} pixels is too small for {kernel} and {pool}"
            )
        if overlap % 2:
            # windows would reach one pixel further to one side, and the last one beyond the image
            raise ValueError(
                f"overlap: {overlap} is odd; windows reach half of it to each side: use an even one"
            )
        self.norm = nn.BatchNorm2d(in_shape[0], momentum=momentum, affine=False)
        self.conv = nn.Conv2d(in_shape[0], channels, kernel, bias=False)
        nn.init.normal_(self.conv.weight, std=radius / math.sqrt(in_shape[0] * kernel * kernel))
        self.conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.edge, self.power = kernel // 2, power
        self.pool, self.overlap, self.pooling = pool, overlap, pooling

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, U, H / pool, W / pool), rounded down."""
        x = F.pad(self.norm(x), [self.edge] * 4, mode="reflect") if self.edge else self.norm(x)
        u = self.conv(x)
        h = triangle(u).pow(self.power)
        if self.pool == 1 and not self.overlap:
            return h
        pooled = F.max_pool2d if self.pooling == "max" else F.avg_pool2d
        side = self.pool + self.overlap
        return pooled(h, side, self.pool, self.overlap // 2)
