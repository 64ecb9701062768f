"""Energies of one activity: sums of squares with a penalty, or without outliers.

    sparse-l1                 G = S − λ Σ_j |h_j|
    huber-norm                G = S − w Σ_j H(h_j)        H(a) = a²/2, or δ (|a| − δ/2) where |a| > δ
    outlier-trimmed-energy    G = Σ_j h_j² without the k smallest and the k largest squares

R rows; U units of a row, over all its dimensions; h (R, *shape); S = Σ_j h_j² (R,); G (R,);
k = trim · U, rounded.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Goodness
from ffcore.options import NonNegative, Positive


def units(activity: Tensor) -> Tensor:
    """Return the units of each row in float32 or more, (R, *shape) → (R, U)."""
    return activity.flatten(1).to(torch.promote_types(activity.dtype, torch.float32))


class SparseL1(Goodness):
    """Sum of squares without a share of the absolute sum, G = Σ h² − λ Σ |h| (arXiv:2511.18567).

    Args:
        penalty: λ.
    """

    def __init__(self, penalty: NonNegative = 0.01) -> None:
        super().__init__()
        self.penalty = penalty

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        h = units(activity)
        return (h.square() - self.penalty * h.abs()).sum(1)


class HuberNorm(Goodness):
    """Sum of squares without a share of the Huber norm, G = Σ h² − w Σ H(h) (arXiv:2511.18567).

    Args:
        weight: w.
        delta: δ, the size of an activity at which the norm becomes linear.
    """

    def __init__(self, weight: NonNegative = 0.01, delta: Positive = 1.0) -> None:
        super().__init__()
        self.weight = weight
        self.delta = delta

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        h = units(activity)
        norm = F.huber_loss(h, torch.zeros_like(h), reduction="none", delta=self.delta)
        return (h.square() - self.weight * norm).sum(1)


class OutlierTrimmedEnergy(Goodness):
    """Sum of squares without the smallest and the largest of them (arXiv:2511.18567).

    Args:
        trim: share of the units left out at each end.
    """

    def __init__(self, trim: Annotated[float, Field(ge=0, lt=0.5)] = 0.1) -> None:
        super().__init__()
        self.trim = trim

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        squares = units(activity).square()
        number = squares.shape[1]
        k = min(round(self.trim * number), (number - 1) // 2)  # one unit or more remains
        return squares.sort(1).values[:, k : number - k].sum(1)
