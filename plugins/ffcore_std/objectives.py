"""Objectives on goodness of form "class".

    cross-entropy         L = −(w/N) Σ_n ln softmax(g_n)_{y_n}
    binary-cross-entropy  L = −(w/NK) Σ_nk y_nk ln σ(g_nk) + (1 − y_nk) ln(1 − σ(g_nk))
    squared-error         L = (w/NK) Σ_nk (g_nk − y_nk)²
    huber                 L = (w/NK) Σ_nk  d²/2 where d = |g_nk − y_nk| ≤ δ, else δ (d − δ/2)

N samples; R rows; K columns of goodness; w the weight; y_n the target of sample n: the column of its true
class, K labels or K real numbers.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Objective, Views
from ffcore.interfaces.goodness import Form
from ffcore.interfaces.task import Target
from ffcore.options import BelowOne, NonNegative, Positive


class CrossEntropy(Objective):
    """Cross-entropy with the true class, L = −w·ln softmax(g)_y.

    A mean over the samples of the first view; y is the column of the true class.

    Args:
        label_smoothing: share of the target that is distributed over all classes.
        weight: w, beside penalties; with 0 only the penalties teach the block.
    """

    accepts: ClassVar[Form] = "class"

    def __init__(self, label_smoothing: BelowOne = 0.0, weight: NonNegative = 1.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.weight = weight

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R, K) → a scalar."""
        first = goodness[: views.samples]
        loss = F.cross_entropy(first, self.targets(views), label_smoothing=self.label_smoothing)
        return loss if self.weight == 1 else self.weight * loss

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor]:
        """Derivative: w·(softmax(g) − (1 − s)·onehot(y) − s/K)/N on the first view's rows; smoothing s."""
        n, k = views.samples, goodness.shape[1]
        up = torch.zeros_like(goodness)
        # Written into the result without a temporary tensor.
        first = torch.softmax(goodness[:n], 1, out=up[:n]).sub_(self.label_smoothing / k)
        first.scatter_add_(
            1, self.targets(views).unsqueeze(1), first.new_full((n, 1), self.label_smoothing - 1)
        )
        first.mul_(self.weight / n) if self.weight != 1 else first.div_(n)
        return self(goodness, views), up


class BinaryCrossEntropy(Objective):
    """Binary cross-entropy of every label, for samples with several labels. A mean over samples and labels.

    Args:
        weight: w, beside penalties.
    """

    accepts: ClassVar[Form] = "class"
    reads: ClassVar[frozenset[Target]] = frozenset({"labels"})

    def __init__(self, weight: NonNegative = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R, K) → a scalar."""
        first = goodness[: views.samples]
        return self.weight * F.binary_cross_entropy_with_logits(first, _numbers(views, first))


class SquaredError(Objective):
    """Mean squared error of real numbers, over samples and columns.

    Args:
        weight: w, beside penalties.
    """

    accepts: ClassVar[Form] = "class"
    reads: ClassVar[frozenset[Target]] = frozenset({"values"})

    def __init__(self, weight: NonNegative = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R, K) → a scalar."""
        first = goodness[: views.samples]
        return self.weight * F.mse_loss(first, _numbers(views, first))


class Huber(Objective):
    """Huber loss of real numbers: squared for small errors, linear for large ones, as of outliers.

    Args:
        delta: δ, the error from which on it is linear, in the units of the targets.
        weight: w, beside penalties.
    """

    accepts: ClassVar[Form] = "class"
    reads: ClassVar[frozenset[Target]] = frozenset({"values"})

    def __init__(self, delta: Positive = 1.0, weight: NonNegative = 1.0) -> None:
        super().__init__()
        self.delta = delta
        self.weight = weight

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R, K) → a scalar."""
        first = goodness[: views.samples]
        return self.weight * F.huber_loss(first, _numbers(views, first), delta=self.delta)


def _numbers(views: Views, like: Tensor) -> Tensor:
    """Return the targets in the shape and dtype of the goodness; (N,) becomes (N, 1)."""
    assert views.y is not None, "the task has targets"
    return views.y.view_as(like).to(like.dtype)
