"""Objectives that compare the goodness of the true class with that of the others.

    cwc: −ln (exp g_y + ε)/(Σ_j exp g_j + ε)
    pvn: ½ softplus(θ − g_y) + ½ softplus(mean_{j ≠ y} g_j − θ)
    cwg: w_c · cross-entropy + w_p · pvn

each a mean over N samples. R rows; J columns of goodness; g (R, J); y: the column of the true class.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Context, Objective, Views
from ffcore.interfaces.goodness import Form
from ffcore.options import NonNegative, Positive


class CwC(Objective):
    """Guarded cross-entropy of channels, −ln (exp g_y + ε)/(Σ_j exp g_j + ε).

    Papachristodoulou et al. 2024, arXiv:2312.12668. g is clamped to ±50; beyond the clamp the gradient is 0.
    If g_y is well above ln ε = −21 and no g is clamped, it is equal to cross-entropy.

    Args:
        eps: ε.
        clamp: limit of |g|.
    """

    accepts: ClassVar[Form] = "class"

    def __init__(self, eps: Positive = 1e-9, clamp: Positive = 50.0) -> None:
        super().__init__()
        self.eps = eps
        self.clamp = clamp

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R, J) → a scalar."""
        true, every = self._guarded(goodness[: views.samples], self.targets(views).unsqueeze(1))
        return (every - true).mean()

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor]:
        """Derivative: (p_j − q·[j = y])/N; p_j, q: exp g_j, exp g_y over their guarded sums."""
        n = views.samples
        first, y = goodness[:n], self.targets(views).unsqueeze(1)
        true, every = self._guarded(first, y)
        inside = first.clamp(-self.clamp, self.clamp)
        up = torch.zeros_like(goodness)
        torch.exp(inside - every, out=up[:n])
        up[:n].scatter_add_(1, y, -torch.exp(inside.gather(1, y) - true))
        # Clamp has no gradient beyond its limits.
        up[:n].mul_(first.abs() <= self.clamp).div_(n)
        return (every - true).mean(), up

    def _guarded(self, first: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """ln(exp g_y + ε) and ln(Σ_j exp g_j + ε), (N, 1) each."""
        inside = first.clamp(-self.clamp, self.clamp)
        # ε enters the sums as one more logit, ln ε.
        guard = inside.new_full((inside.shape[0], 1), math.log(self.eps))
        every = torch.cat([inside, guard], 1).logsumexp(1, keepdim=True)
        return torch.logaddexp(inside.gather(1, y), guard), every


class PvN(Objective):
    """Positive versus negative, ½ softplus(θ − g⁺) + ½ softplus(g⁻ − θ).

    g⁺ is g_y, and g⁻ the mean of the others (Papachristodoulou et al. 2024, arXiv:2312.12668). The factors ½
    are from the authors' code, which takes the mean over both terms.

    Args:
        threshold: θ.

    Raises:
        ValueError: when there is one class.
    """

    accepts: ClassVar[Form] = "class"

    def __init__(self, threshold: float = 2.0) -> None:
        super().__init__()
        self.threshold = threshold

    def setup(self, context: Context) -> None:
        """Check the number of classes.

        Raises:
            ValueError: when there is one class only: there are no others, whose mean is g⁻.
        """
        context.refuse_one_class(f"objective {type(self).__name__.lower()}", "positive versus negative")

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R, J) → a scalar."""
        errors = self._errors(goodness[: views.samples], self.targets(views).unsqueeze(1))
        return F.softplus(errors).mean()

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor]:
        """Derivative: −σ(θ − g⁺)/(2N) for the true column, σ(g⁻ − θ)/(2N (J − 1)) for each other."""
        n, others = views.samples, goodness.shape[1] - 1
        y = self.targets(views).unsqueeze(1)
        errors = self._errors(goodness[:n], y)
        slope = torch.sigmoid(errors).div_(2 * n)
        up = torch.zeros_like(goodness)
        up[:n] = slope[:, 1:] / others
        up[:n].scatter_(1, y, -slope[:, :1])
        return F.softplus(errors).mean(), up

    def _errors(self, first: Tensor, y: Tensor) -> Tensor:
        """θ − g⁺ and g⁻ − θ, (N, 2)."""
        positive = first.gather(1, y)
        negative = (first.sum(1, keepdim=True) - positive) / (first.shape[1] - 1)
        return torch.cat([self.threshold - positive, negative - self.threshold], 1)


class CwG(PvN):
    """Weighted cross-entropy and PvN, w_c · cross-entropy + w_p · PvN.

    Papachristodoulou et al. 2024, arXiv:2312.12668.

    Args:
        cross_entropy: w_c, weight of cross-entropy.
        pvn: w_p, weight of PvN.
        threshold: θ of PvN.

    Raises:
        ValueError: when there is one class.
    """

    def __init__(
        self, cross_entropy: NonNegative = 0.28, pvn: NonNegative = 0.72, threshold: float = 2.0
    ) -> None:
        super().__init__(threshold)
        self.cross_entropy = cross_entropy
        self.pvn = pvn

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R, J) → a scalar."""
        return self._joined(super().forward(goodness, views), goodness, views)

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor]:
        """Derivative: w_c (softmax(g) − onehot(y))/N + w_p times that of PvN."""
        loss, up = super().with_derivative(goodness, views)
        n, y = views.samples, self.targets(views).unsqueeze(1)
        error = torch.softmax(goodness[:n], 1)
        error.scatter_add_(1, y, error.new_full(y.shape, -1))
        up[:n].mul_(self.pvn).add_(error, alpha=self.cross_entropy / n)
        return self._joined(loss, goodness, views), up

    def _joined(self, pvn: Tensor, goodness: Tensor, views: Views) -> Tensor:
        entropy = F.cross_entropy(goodness[: views.samples], self.targets(views))
        return self.cross_entropy * entropy + self.pvn * pvn
