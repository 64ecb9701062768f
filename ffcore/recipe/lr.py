"""Learning-rate schedules: a factor on every block's learning rate, as a function of time."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator

from ffcore.recipe.calls import Call
from ffcore.recipe.objects import as_kind
from ffcore.recipe.strict import Count, Fraction, NonNegative, Positive, Strict
from ffcore.recipe.unions import ByKind


class Constant(Strict):
    """The same rate throughout."""

    kind: Literal["constant"] = Field(default="constant", description="the same rate throughout")

    def factor(self, epoch: float, epochs: int) -> float:
        """The factor after ``epoch`` of ``epochs`` epochs; ``epoch`` may be fractional."""
        return 1.0


class HoldThenLinear(Strict):
    """Constant, then linear to zero at the end (Hinton 2022)."""

    kind: Literal["hold-then-linear"] = Field(
        default="hold-then-linear", description="constant, then linear to zero at the end"
    )
    hold: Fraction = Field(default=0.5, description="share of the epochs before the descent")

    def factor(self, epoch: float, epochs: int) -> float:
        """``min(1, (epochs − epoch) / (epochs − hold·epochs))``, never below 0."""
        start = self.hold * epochs
        if epoch <= start:
            return 1.0
        return max(0.0, (epochs - epoch) / (epochs - start)) if start < epochs else 0.0


class Cosine(Strict):
    """Half a cosine, after a linear warm-up."""

    kind: Literal["cosine"] = Field(default="cosine", description="half a cosine, after a linear warm-up")
    final: Fraction = Field(
        default=0.0, description="the rate at the end, as a fraction of the learning rate"
    )
    warmup_epochs: NonNegative = Field(default=0.0, description="epochs of linear ascent from zero")

    def factor(self, epoch: float, epochs: int) -> float:
        """``final + (1 − final)·(1 + cos(π·t))/2`` with t from 0 after the warm-up to 1 at the end."""
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        left = epochs - self.warmup_epochs
        t = min(1.0, (epoch - self.warmup_epochs) / left) if left > 0 else 1.0
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * t)) / 2


class Step(Strict):
    """Multiplied at the end of some epochs."""

    kind: Literal["step"] = Field(default="step", description="multiplied after some epochs")
    epochs: list[Count] = Field(min_length=1, description="after which epochs, ascending")
    by: Positive = Field(default=0.1, description="what the rate is multiplied by each time")

    @field_validator("epochs")
    @classmethod
    def _ascending(cls, epochs: list[int]) -> list[int]:
        if any(later <= earlier for earlier, later in pairwise(epochs)):
            raise ValueError("should ascend")
        return epochs

    def factor(self, epoch: float, epochs: int) -> float:
        """``by`` to the power of the number of listed epochs that are over."""
        return float(self.by ** sum(epoch >= after for after in self.epochs))


class FactorCall(Call):
    """Any function of time."""

    what: ClassVar[str] = "a function (epoch, epochs) → factor on the learning rate"


_Known = Annotated[
    Constant | HoldThenLinear | Cosine | Step,
    Field(discriminator="kind"),
    BeforeValidator(as_kind),
    ByKind("learning-rate schedule", ("constant", "hold-then-linear", "cosine", "step")),
]

LRSchedule = Annotated[
    Annotated[_Known, Tag("known")] | Annotated[FactorCall, Tag("called")],
    Discriminator(Call.tag),
    ByKind("", ("known", "called")),
]
