"""Objectives on goodness of form "class".

    L = −(1/N) Σ_n ln softmax(g_n)_{y_n}

N samples; R rows; K columns of goodness; y_n the column of the true class of sample n.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Objective, Views
from ffcore.interfaces.goodness import Form
from ffcore.options import BelowOne


class CrossEntropy(Objective):
    """Cross-entropy with the true class, L = −ln softmax(g)_y.

    A mean over the samples of the first view; y is the column of the true class.

    Args:
        label_smoothing: share of the target that is distributed over all classes.
    """

    accepts: ClassVar[Form] = "class"

    def __init__(self, label_smoothing: BelowOne = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R, K) → a scalar."""
        first = goodness[: views.samples]
        return F.cross_entropy(first, self.targets(views), label_smoothing=self.label_smoothing)

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor]:
        """Derivative: (softmax(g) − (1 − s)·onehot(y) − s/K)/N on the first view's rows, with smoothing s."""
        n, k = views.samples, goodness.shape[1]
        up = torch.zeros_like(goodness)
        # Written into the result without a temporary tensor.
        first = torch.softmax(goodness[:n], 1, out=up[:n]).sub_(self.label_smoothing / k)
        first.scatter_add_(
            1, self.targets(views).unsqueeze(1), first.new_full((n, 1), self.label_smoothing - 1)
        )
        first.div_(n)
        return self(goodness, views), up
