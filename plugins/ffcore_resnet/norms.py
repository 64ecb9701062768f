"""Norms between convolutions. They subtract the mean activity, on which the goodness depends.

    z = (x − mean)/√(var + ε)       over a group of channels, a channel, or a channel of the batch

R rows; C channels of H by W pixels. The norms have no parameters, since a handoff does not learn.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import Component, Context
from ffcore.options import Count, Positive


def group_norm(x: Tensor, groups: int, eps: float = 1e-5) -> Tensor:
    """Return z of groups of channels, in the memory format of x on any device.

    Args:
        x: (R, C, *positions).
        groups: number of groups, which divides C.
        eps: ε, added to variances.
    """
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    if x.device.type == "cpu" or not last:
        return F.group_norm(x, groups, eps=eps)
    return channels_last_norm(x, groups, eps)


def channels_last_norm(x: Tensor, groups: int, eps: float = 1e-5) -> Tensor:
    """Return z of images in channels-last format: on a GPU torch's norm would leave it.

    As torch's it sums in float32 at least, and under autocast returns that type.

    Args:
        x: (R, C, H, W).
        groups: number of groups, which divides C.
        eps: ε, added to variances.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    by_pixel = x.permute(0, 2, 3, 1)  # a view: channels are the last dimension in memory
    split = by_pixel.reshape(*by_pixel.shape[:3], groups, -1).to(wide)
    variance, mean = torch.var_mean(split, (1, 2, 4), correction=0, keepdim=True)
    scale = (variance + eps).rsqrt()
    made = torch.addcmul(-mean * scale, split, scale).reshape(by_pixel.shape).permute(0, 3, 1, 2)
    return made if torch.is_autocast_enabled(x.device.type) else made.to(x.dtype)


class GroupNorm(Component):
    """Group norm without parameters; by default one group per class (DeeperForward).

    Sun et al., ICLR 2025. With one group per class it removes the mean activity of each class, which is its
    goodness.

    Args:
        groups: number of groups of channels; None for one per class.
    """

    def __init__(self, groups: Count | None = None) -> None:
        super().__init__()
        self.groups = groups
        self.classes = 1

    def setup(self, context: Context) -> None:
        """Set the number of groups.

        Raises:
            ValueError: when the groups do not divide the channels.
        """
        self.classes = context.classes
        count = self.groups or context.classes
        if context.shape[0] % count:
            low = context.shape[0] // count * count
            raise ValueError(
                f"group-norm: {count} groups do not divide {context.shape[0]} channels; the nearest valid "
                f"widths are {low or count} or {low + count}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, *positions) → the same shape."""
        return group_norm(x, self.groups or self.classes)


class InstanceNorm(nn.Module):
    """Instance norm without parameters; images of one pixel are unchanged.

    It removes the mean of every channel, and with it the information of a goodness of pooled channels (CAW).

    Args:
        eps: added to variances.
    """

    def __init__(self, eps: Positive = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → the same shape."""
        pixels = x[0, 0].numel()
        if pixels == 1:  # the norm of a single pixel would be 0
            return x
        if torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
            return group_norm(x, x.shape[1], self.eps)
        # In channels-last format on a CPU, torch's norm takes up to 20 times as long as these products.
        rows = x.permute(0, 2, 3, 1).reshape(x.shape[0], pixels, -1)
        average = rows.new_full((x.shape[0], 1, pixels), 1 / pixels)
        made = rows - torch.bmm(average, rows)
        deviation = torch.bmm(average, made.square()).add_(self.eps).rsqrt_()
        return made.mul_(deviation).view(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)


class BatchNorm(nn.Module):
    """Batch norm without parameters.

    It does not remove the goodness: a sample keeps its difference from the mean of the batch. Use it for
    backpropagation.

    Args:
        in_shape: (C, H, W) of one activity; the builder supplies it.
    """

    def __init__(self, in_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_shape[0], affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → the same shape."""
        return cast(Tensor, self.norm(x))
