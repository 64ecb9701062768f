"""Objectives on the goodness of positive and negative data.

R rows: N positives, then N negatives.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Context, Objective, Views
from ffcore.interfaces.goodness import Form
from ffcore.options import Positive


class Logistic(Objective):
    """−ln σ((G⁺ − θ)/T) − ln(1 − σ((G⁻ − θ)/T)), each a mean over its rows (Hinton 2022, section 2).

    With p = σ((G − θ)/T) its derivative is −(1 − p⁺)/(T·N) for a positive and p⁻/(T·N) for a negative row.

    Args:
        threshold: θ. "units" is the block's goodness of an activity of ones: the number of units for a sum
            of squares (Hinton's code), 1 for a mean, minus the units for a negative sum.
        temperature: T.
    """

    accepts: ClassVar[Form] = "energy"
    examples = ({"threshold": 2.0, "temperature": 3.0},)

    def __init__(self, threshold: float | Literal["units"] = "units", temperature: Positive = 1.0) -> None:
        super().__init__()
        self.threshold = threshold
        self.temperature = temperature
        self.theta = 0.0 if isinstance(threshold, str) else float(threshold)

    def setup(self, context: Context) -> None:
        """Work out a threshold that was given as "units"."""
        if self.threshold == "units":
            self.theta = context.unit_goodness

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R,) → a scalar."""
        logits = self._logits(goodness)
        positive, negative = views.of(logits, "positive"), views.of(logits, "negative")
        return F.softplus(-positive).mean() + F.softplus(negative).mean()

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor]:
        """(R,) → a scalar, (R,)."""
        wrong = self._logits(goodness)  # how far a row is on the wrong side
        views.of(wrong, "positive").neg_()
        losses, up = F.softplus(wrong), torch.sigmoid(wrong)
        views.of(up, "positive").neg_()
        if views.roles == ("positive", "negative") and views.sizes[0] == views.sizes[1]:
            return losses.sum() / views.sizes[0], up.div_(views.sizes[0] * self.temperature)
        for role in views.roles:
            rows = views.of(up, role)
            rows.div_(rows.shape[0] * self.temperature if role in ("positive", "negative") else math.inf)
        return views.of(losses, "positive").mean() + views.of(losses, "negative").mean(), up

    def _logits(self, goodness: Tensor) -> Tensor:
        above = goodness - self.theta
        return above if self.temperature == 1 else above / self.temperature

    def boundary(self) -> float:
        """θ."""
        return self.theta


class SymBa(Objective):
    """softplus(−α (G⁺ − G⁻)) for the two views of one sample, a mean (Lee and Song 2023, arXiv:2303.08418).

    Args:
        alpha: α.
    """

    accepts: ClassVar[Form] = "energy"

    def __init__(self, alpha: Positive = 4.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R,) → a scalar."""
        return F.softplus(self._logits(goodness, views)).mean()

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor]:
        """(R,) → a scalar, (R,)."""
        logits = self._logits(goodness, views)
        pull = torch.sigmoid(logits).mul_(self.alpha / len(logits))
        up = torch.zeros_like(goodness)
        views.of(up, "positive").copy_(-pull)
        views.of(up, "negative").copy_(pull)
        return F.softplus(logits).mean(), up

    def _logits(self, goodness: Tensor, views: Views) -> Tensor:
        return -self.alpha * (views.of(goodness, "positive") - views.of(goodness, "negative"))
