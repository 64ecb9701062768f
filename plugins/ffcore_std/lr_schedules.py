"""Learning-rate schedules: a factor on every block's learning rate as a function of time. Imports no torch.

A schedule is any class with ``factor(epoch, epochs)``: the factor after ``epoch`` of ``epochs`` epochs, where
``epoch`` may be fractional.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field

from ffcore.options import Count, Fraction, NonNegative, Positive


class Constant:
    """The same rate throughout."""

    def factor(self, epoch: float, epochs: int) -> float:
        """1."""
        return 1.0


class HoldThenLinear:
    """Constant, then linear to zero at the end (Hinton 2022).

    Args:
        hold: share of the epochs before the descent.
    """

    def __init__(self, hold: Fraction = 0.5) -> None:
        self.hold = hold

    def factor(self, epoch: float, epochs: int) -> float:
        """``min(1, (epochs − epoch) / (epochs − hold·epochs))``, never below 0."""
        start = self.hold * epochs
        if epoch <= start:
            return 1.0
        return max(0.0, (epochs - epoch) / (epochs - start)) if start < epochs else 0.0


class Cosine:
    """Half a cosine, after a linear warm-up.

    Args:
        final: the rate at the end, as a fraction of the learning rate.
        warmup_epochs: epochs of linear ascent from zero.
    """

    def __init__(self, final: Fraction = 0.0, warmup_epochs: NonNegative = 0.0) -> None:
        self.final, self.warmup_epochs = final, warmup_epochs

    def factor(self, epoch: float, epochs: int) -> float:
        """``final + (1 − final)·(1 + cos(π·t))/2`` with t from 0 after the warm-up to 1 at the end."""
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        left = epochs - self.warmup_epochs
        t = min(1.0, (epoch - self.warmup_epochs) / left) if left > 0 else 1.0
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * t)) / 2


def _ascending(epochs: list[int]) -> list[int]:
    if any(later <= earlier for earlier, later in pairwise(epochs)):
        raise ValueError("should ascend")
    return epochs


Milestones = Annotated[list[Count], Field(min_length=1), AfterValidator(_ascending)]
"""Ascending epochs, at least one."""


class Step:
    """Multiplied at the end of some epochs.

    Args:
        epochs: after which epochs, ascending.
        by: what the rate is multiplied by each time.
    """

    examples = ({"epochs": [1, 3]},)

    def __init__(self, epochs: Milestones, by: Positive = 0.1) -> None:
        self.epochs, self.by = epochs, by

    def factor(self, epoch: float, epochs: int) -> float:
        """``by`` to the power of the number of listed epochs that are over."""
        return float(self.by ** sum(epoch >= after for after in self.epochs))
