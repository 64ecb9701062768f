"""Learning-rate schedules: a factor on every block's learning rate. Does not import torch.

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
    """Constant learning rate."""

    def factor(self, epoch: float, epochs: int) -> float:
        """Return 1."""
        return 1.0


class HoldThenLinear:
    """Constant, then linear decay to zero at the end (Hinton 2022).

    Args:
        hold: share of the epochs before the decay.
    """

    def __init__(self, hold: Fraction = 0.5) -> None:
        self.hold = hold

    def factor(self, epoch: float, epochs: int) -> float:
        """Return ``min(1, (epochs − epoch) / (epochs − hold·epochs))``, at least 0."""
        start = self.hold * epochs
        if epoch <= start:
            return 1.0
        return max(0.0, (epochs - epoch) / (epochs - start)) if start < epochs else 0.0


class Cosine:
    """Cosine decay after a linear warm-up.

    Args:
        final: the factor at the end.
        warmup_epochs: epochs of linear increase from zero.
    """

    def __init__(self, final: Fraction = 0.0, warmup_epochs: NonNegative = 0.0) -> None:
        self.final, self.warmup_epochs = final, warmup_epochs

    def factor(self, epoch: float, epochs: int) -> float:
        """Return ``final + (1 − final)·(1 + cos(π·t))/2``, t from 0 after the warm-up to 1 at the end."""
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
    """Multiplied by a factor after given epochs.

    Args:
        epochs: the epochs after which the rate changes, ascending.
        by: the factor of each change.
    """

    examples = ({"epochs": [1, 3]},)

    def __init__(self, epochs: Milestones, by: Positive = 0.1) -> None:
        self.epochs, self.by = epochs, by

    def factor(self, epoch: float, epochs: int) -> float:
        """Return ``by`` to the power of the number of listed epochs that are over."""
        return float(self.by ** sum(epoch >= after for after in self.epochs))
