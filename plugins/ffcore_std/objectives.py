"""Objectives on goodness of form "class".

    L = −(w/N) Σ_n ln softmax(g_n)_{y_n}

N samples; R rows; K columns of goodness; w the weight; y_n the column of the true class of sample n.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Objective, Views
from ffcore.interfaces.goodness import Form
from ffcore.options import BelowOne, NonNegative


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
