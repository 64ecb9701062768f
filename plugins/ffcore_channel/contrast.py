"""Supervised contrast between the samples of a batch, on the handoff of a block.

    L = −mean_i mean_{p ∈ P(i)} ln softmax_{a ≠ i}(s_ia / T)_p,  s_ia = z_i·z_a, with a margin m for a ∈ P(i):
    s_ia = min(z_i·z_a + m, 1)

N samples; C channels; z (N, D) projections of length 1; P(i): the other samples of i's class.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import Block, Context, Out, Penalty, Progress, Views
from ffcore.options import Natural, NonNegative, Positive, Size
from ffcore_channel.pooling import product


def supervised_contrast(z: Tensor, y: Tensor, temperature: Tensor | float, margin: float = 0.0) -> Tensor:
    """Return −mean_i mean_{p ∈ P(i)} ln softmax_{a ≠ i}(s_ia/T)_p; P(i): other samples of i's class.

    The term of a sample without others of its class is 0. Such a sample is still a negative for the others.

    Args:
        z: (N, D) of length 1, N ≥ 2.
        y: (N,) classes.
        temperature: T.
        margin: m; 0 for none.
    """
    # A sample is never compared with itself.
    own = torch.eye(z.shape[0], dtype=torch.bool, device=z.device)
    same = (y.unsqueeze(1) == y) & ~own
    cosines = product(z, z.T)
    if margin:
        cosines = torch.where(same, (cosines + margin).clamp(max=1), cosines)
    similar = (cosines / temperature).masked_fill(own, -math.inf)
    log_share = similar - similar.logsumexp(1, keepdim=True)
    of_sample = log_share.masked_fill(~same, 0).sum(1) / same.sum(1).clamp(min=1)
    return -of_sample.mean()


class Contrast(Penalty):
    """Supervised contrast of projected handoffs (HCL-FF, Yao et al. 2026).

    arXiv:2605.24797. The projection learns with the block: average pooling to s×s positions (s = 4 up to 100
    channels, 2 up to 400, else 1), a linear layer without bias, batch norm, division by the length. It uses
    the classes of the data, also if the goodness has super-classes. The temperature changes linearly from
    ``start`` to ``middle`` in ``warmup`` epochs, then by a half cosine to ``end`` at the end of the run. The
    term of a batch of one sample is 0.

    Args:
        weight: λ, weight of the term.
        width: D, length of a projection.
        start: temperature of the first epoch.
        middle: temperature after the warm-up.
        end: temperature at the end of the run.
        warmup: number of epochs from start to middle.
    """

    couples_samples: ClassVar[bool] = True
    reads_classes: ClassVar[bool] = True
    reads_handoff: ClassVar[bool] = True
    teaches: ClassVar[bool] = True
    projection: nn.Sequential
    temperature: Tensor

    def __init__(
        self,
        weight: NonNegative = 1.0,
        width: Size = 128,
        start: Positive = 0.8,
        middle: Positive = 0.2,
        end: Positive = 0.1,
        warmup: Natural = 50,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.width = width
        self.start, self.middle, self.end = start, middle, end
        self.warmup = warmup
        self.places: tuple[int, ...] = ()
        self.register_buffer("temperature", torch.tensor(start))

    def setup(self, context: Context) -> None:
        """Make the projection, for a handoff of the activity's shape."""
        if len(context.shape) not in (1, 3):
            raise ValueError(
                f"penalty contrast: block {context.name} has activity {context.shape}; it needs rows (U,) or "
                "images (C, H, W)"
            )
        channels, *sides = context.shape
        most = 4 if channels <= 100 else 2 if channels <= 400 else 1
        self.places = tuple(min(most, side) for side in sides)
        self.shape = context.shape
        linear = nn.Linear(channels * math.prod(self.places), self.width, bias=False)
        self.projection = nn.Sequential(linear, nn.BatchNorm1d(self.width))

    def advance(self, progress: Progress) -> None:
        """Set the temperature of the epoch."""
        self.temperature.fill_(self.temperature_at(progress.epoch, progress.epochs))

    def temperature_at(self, epoch: int, epochs: int) -> float:
        """Return T at ``epoch`` (from 0) of ``epochs``."""
        if epoch < self.warmup:
            return self.start + (self.middle - self.start) * epoch / self.warmup
        share = (epoch - self.warmup) / max(1, epochs - self.warmup)
        return self.end + (self.middle - self.end) * (1 + math.cos(math.pi * share)) / 2

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """Return the weighted term.

        Raises:
            ValueError: when the handoff has another shape than the activity.
        """
        if views.samples < 2:
            return out.handoff.new_zeros(())
        assert views.y is not None, "classes are learned from labelled samples"
        # The first view has the batch's samples.
        x = out.handoff[: views.samples]
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"penalty contrast: the handoff has the shape {tuple(x.shape[1:])}, "
                f"the activity {self.shape}; it needs a handoff that keeps the shape"
            )
        if len(self.places) == 2:
            x = F.adaptive_avg_pool2d(x, self.places)
        z = F.normalize(self.projection(x.flatten(1)).to(torch.promote_types(x.dtype, torch.float32)), dim=1)
        return self.weight * supervised_contrast(z, views.y, self.temperature)
