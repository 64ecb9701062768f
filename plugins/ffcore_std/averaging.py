"""Averages of weights over a growing part of a run.

    θ̄_n = θ̄_{n−1} + (θ_n − θ̄_{n−1}) / (1 + s n)

n number of updates; s share: θ̄_n is an average over about the last s n of them. A moving average with a fixed
decay has one length for the whole run: too long for its first epochs, or too short for later ones.
"""

from __future__ import annotations

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from ffcore.options import Count, Fraction


class GrowingAverage(WeightAveraging):
    """Validates, tests and keeps averaged weights; learning continues from the last ones.

    A callback for ``trainer.callbacks``: ``{kind: "ffcore_std.averaging:GrowingAverage"}``, or
    ``callbacks=[GrowingAverage()]`` from Python and of any Lightning trainer. Buffers are averaged too.

    Args:
        share: s, share of the past updates over which the average runs; at 1 it is that of all weights.
        every: number of steps between two updates.
    """

    def __init__(self, share: Fraction = 0.1, every: Count = 5) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}; it should be above 0 and at most 1")
        self.share, self.every = share, every
        super().__init__(avg_fn=self._average)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether the weights after a step are averaged."""
        return step_idx is not None and step_idx % self.every == 0

    @torch.no_grad()
    def _average(self, average: Tensor, now: Tensor, updates: Tensor | int) -> Tensor:
        weight = 1 / (1 + self.share * updates)
        return average + (now - average) * weight
