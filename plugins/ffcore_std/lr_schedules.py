"""Learning-rate schedules: a factor on every block's learning rate. Does not import torch.

A schedule is any class with ``factor(epoch, epochs)``: the factor after ``epoch`` of ``epochs`` epochs, where
``epoch`` may be fractional.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from ffcore.options import Count, Fraction, NonNegative, Positive

Numbers = TypeVar("Numbers", bound=Sequence[float])

Per = Literal["batch", "epoch", "middle"]
"""Where a factor is read: at every batch, or for a whole epoch at its beginning or in its middle."""


def read_at(epoch: float, per: Per) -> float:
    """Return the point of the run, in epochs, at which a factor is read.

    >>> [read_at(2.75, per) for per in ("batch", "epoch", "middle")]
    [2.75, 2.0, 2.5]
    """
    if per == "batch":
        return epoch
    begun = math.floor(epoch + 1e-6)  # a fraction of batches may be just below the next epoch
    return begun + (0.5 if per == "middle" else 0.0)


class Constant:
    """Constant learning rate."""

    def factor(self, epoch: float, epochs: int) -> float:
        """Return 1."""
        return 1.0


class HoldThenLinear:
    """Constant, then linear decay to zero at the end (Hinton 2022).

    In Hinton's MATLAB code the factor of epoch e, from 1, of E is 1 up to E/2, then (1 + 2 (E − e))/E: that
    of the middle of the epoch.

    >>> [HoldThenLinear(per="middle").factor(e - 1, 4) for e in (1, 2, 3, 4)]
    [1.0, 1.0, 0.75, 0.25]

    Args:
        hold: share of the epochs before the decay.
        per: batch: the factor changes with every batch; epoch, middle: every batch of an epoch has the factor
            of its beginning, or of its middle.
    """

    def __init__(self, hold: Fraction = 0.5, per: Per = "batch") -> None:
        self.hold, self.per = hold, per

    def factor(self, epoch: float, epochs: int) -> float:
        """Return ``min(1, (epochs − epoch) / (epochs − hold·epochs))``, at least 0."""
        epoch, start = read_at(epoch, self.per), self.hold * epochs
        if epoch <= start:
            return 1.0
        return max(0.0, (epochs - epoch) / (epochs - start)) if start < epochs else 0.0


class Cosine:
    """Cosine decay after a linear warm-up.

    Args:
        final: the factor at the end.
        warmup_epochs: epochs of linear increase from zero.
        per: batch: the factor changes with every batch; epoch, middle: every batch of an epoch has the factor
            of its beginning, as with torch's CosineAnnealingLR, or of its middle.
    """

    def __init__(self, final: Fraction = 0.0, warmup_epochs: NonNegative = 0.0, per: Per = "batch") -> None:
        self.final, self.warmup_epochs, self.per = final, warmup_epochs, per

    def factor(self, epoch: float, epochs: int) -> float:
        """Return ``final + (1 − final)·(1 + cos(π·t))/2``, t from 0 after the warm-up to 1 at the end."""
        epoch = read_at(epoch, self.per)
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        left = epochs - self.warmup_epochs
        t = min(1.0, (epoch - self.warmup_epochs) / left) if left > 0 else 1.0
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * t)) / 2


def _ascending(numbers: Numbers) -> Numbers:
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise ValueError("should ascend")
    return numbers


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


Shares = Annotated[tuple[Fraction, ...], Field(min_length=1), AfterValidator(_ascending)]
"""Ascending shares of a run, at least one."""


class Steps:
    """Multiplied by a factor after given shares of the run's epochs (Nøkland and Eidnes 2019).

    Unlike `step` it depends only on the share, so a shorter run has the whole schedule.

    Args:
        at: the shares of the epochs after which the rate changes, ascending.
        by: the factor of each change.
    """

    def __init__(self, at: Shares = (0.5, 0.75, 0.875, 0.9375), by: Positive = 0.25) -> None:
        self.at, self.by = at, by

    def factor(self, epoch: float, epochs: int) -> float:
        """Return ``by`` to the power of the number of listed shares that are over."""
        return float(self.by ** sum(epoch >= share * epochs for share in self.at))


class OneCycle:
    """Linear increase from 0, then linear decay to ``final`` (one-cycle, Smith 2018, arXiv:1803.09820).

    Args:
        peak: share of the epochs at which the factor is 1.
        final: the factor at the end.
    """

    def __init__(self, peak: Fraction = 0.25, final: Fraction = 0.0) -> None:
        self.peak, self.final = peak, final

    def factor(self, epoch: float, epochs: int) -> float:
        """Return t/peak before the peak, then 1 − (1 − final)·(t − peak)/(1 − peak); t = epoch/epochs."""
        t = min(1.0, epoch / epochs)
        if t < self.peak:
            return t / self.peak
        return 1 - (1 - self.final) * (t - self.peak) / (1 - self.peak) if self.peak < 1 else 1.0
