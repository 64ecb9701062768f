"""Objectives on the goodness of positives and negatives.

    logistic: mean softplus(−(G⁺ − θ)/T) + mean softplus((G⁻ − θ)/T)
    symba:    mean softplus(−α (G⁺ − G⁻))

R rows: N positives, then N negatives; G (R,), G⁺ and G⁻ (N,). −ln σ(x) = softplus(−x).
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Context, Objective, Views, c99
from ffcore.interfaces.goodness import Form
from ffcore.interfaces.task import Target
from ffcore.options import Positive


class Logistic(Objective):
    """Logistic loss of the goodness, −ln σ((G⁺ − θ)/T) − ln(1 − σ((G⁻ − θ)/T)).

    Each term is a mean over its rows (Hinton 2022, section 2). With p = σ((G − θ)/T) the derivative is
    −(1 − p⁺)/(T·N) for a positive and p⁻/(T·N) for a negative row.

    Args:
        threshold: θ, the goodness that separates positives and negatives. "units" is the block's goodness of
            an activity of ones: the number of units for a sum of squares (as in Hinton's code), 1 for a mean,
            minus the number of units for a negative sum.
        temperature: T, divides the goodness; a larger T gives a smoother loss.
    """

    accepts: ClassVar[Form] = "energy"
    reads: ClassVar[frozenset[Target]] = frozenset({"none"})
    examples = ({"threshold": 2.0, "temperature": 3.0},)

    def __init__(self, threshold: float | Literal["units"] = "units", temperature: Positive = 1.0) -> None:
        super().__init__()
        self.threshold = threshold
        self.temperature = temperature
        self.theta = 0.0 if isinstance(threshold, str) else float(threshold)

    def setup(self, context: Context) -> None:
        """Compute the threshold if it is "units"."""
        if self.threshold == "units":
            self.theta = context.unit_goodness

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R,) → a scalar."""
        logits = self._logits(goodness)
        positive, negative = views.of(logits, "positive"), views.of(logits, "negative")
        return F.softplus(-positive).mean() + F.softplus(negative).mean()

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor]:
        """(R,) → a scalar, (R,)."""
        wrong = self._logits(goodness)  # distance of a row on the wrong side of θ
        views.of(wrong, "positive").neg_()
        losses, up = F.softplus(wrong), torch.sigmoid(wrong)
        views.of(up, "positive").neg_()
        if views.roles == ("positive", "negative") and views.sizes[0] == views.sizes[1]:
            return losses.sum() / views.sizes[0], up.div_(views.sizes[0] * self.temperature)
        for role in views.roles:
            rows = views.of(up, role)
            # rows of other views have no part in the loss: their derivative becomes 0
            rows.div_(rows.shape[0] * self.temperature if role in ("positive", "negative") else math.inf)
        return views.of(losses, "positive").mean() + views.of(losses, "negative").mean(), up

    def _logits(self, goodness: Tensor) -> Tensor:
        above = goodness - self.theta
        return above if self.temperature == 1 else above / self.temperature

    def boundary(self) -> float:
        """Return θ."""
        return self.theta

    def c99(self) -> c99.ContrastLoss:
        """Return the C form; see `ffcore.interfaces.c99`."""
        theta, temperature = c99.literal(self.theta), c99.literal(self.temperature)
        return c99.ContrastLoss(
            "/* distance of each row on the wrong side of the threshold */\n"
            f"const float p = ({theta} - positive) / {temperature};\n"
            f"const float n = (negative - {theta}) / {temperature};\n"
            f"*up_positive = -sigmoid(p) / {temperature};\n"
            f"*up_negative = sigmoid(n) / {temperature};\n"
            "return softplus(p) + softplus(n);"
        )


class SymBa(Objective):
    """Symmetric loss of goodness pairs, softplus(−α (G⁺ − G⁻)) (SymBa).

    A mean over samples; G⁺ and G⁻ are of the same sample (Lee and Song 2023, arXiv:2303.08418).

    Args:
        alpha: α, factor of the difference.
    """

    accepts: ClassVar[Form] = "energy"
    reads: ClassVar[frozenset[Target]] = frozenset({"none"})

    def __init__(self, alpha: Positive = 4.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R,) → a scalar."""
        return F.softplus(self._logits(goodness, views)).mean()

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor]:
        """(R,) → a scalar, (R,)."""
        logits = self._logits(goodness, views)
        slope = torch.sigmoid(logits).mul_(self.alpha / logits.shape[0])
        up = torch.zeros_like(goodness)
        views.of(up, "positive").copy_(-slope)
        views.of(up, "negative").copy_(slope)
        return F.softplus(logits).mean(), up

    def c99(self) -> c99.ContrastLoss:
        """Return the C form; see `ffcore.interfaces.c99`."""
        alpha = c99.literal(self.alpha)
        return c99.ContrastLoss(
            f"const float below = -{alpha} * (positive - negative);\n"
            f"const float slope = {alpha} * sigmoid(below);\n"
            "*up_positive = -slope;\n"
            "*up_negative = slope;\n"
            "return softplus(below);"
        )

    def _logits(self, goodness: Tensor, views: Views) -> Tensor:
        return -self.alpha * (views.of(goodness, "positive") - views.of(goodness, "negative"))
