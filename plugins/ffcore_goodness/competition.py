"""Sums of squares that depend on how the activity is shared among the units.

    attention-weighted    G = S (1 + w E(p))            p_j = softmax_j(|h_j|/τ)
    fractal-dimension     G = S (1 + w E(p))            p_j = |h_j|/Σ_i |h_i|
    game-theoretic        G = Σ_j h_j² (1 + w p_j)      p_j = |h_j|/Σ_i |h_i|

    E(p) = −Σ_j p_j ln p_j / ln U, in [0, 1]

R rows; U units of a row, over all its dimensions; h (R, *shape); p (R, U), constant in the gradient;
S = Σ_j h_j² and G (R,).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Goodness
from ffcore.options import NonNegative, Positive
from ffcore_goodness.energies import units


class AttentionWeighted(Goodness):
    """Sum of squares, larger for an activity whose softmax is spread, G = S (1 + w E) (arXiv:2511.18567).

    Args:
        weight: w.
        temperature: τ of the softmax over the units.
    """

    def __init__(self, weight: NonNegative = 0.01, temperature: Positive = 1.0) -> None:
        super().__init__()
        self.weight = weight
        self.temperature = temperature

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        h = units(activity)
        attention = (h.detach().abs() / self.temperature).softmax(1)
        return h.square().sum(1) * (1 + self.weight * _entropy(attention))


class FractalDimension(Goodness):
    """Sum of squares, larger for an activity that many units share, G = S (1 + w E) (arXiv:2511.18567).

    Args:
        weight: w.
    """

    def __init__(self, weight: NonNegative = 0.1) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        h = units(activity)
        return h.square().sum(1) * (1 + self.weight * _entropy(_shares(h)))


class GameTheoretic(Goodness):
    """Sum of squares, each weighted by its unit's share, G = Σ h² (1 + w p) (arXiv:2511.18567).

    Args:
        weight: w.
    """

    def __init__(self, weight: NonNegative = 0.1) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        h = units(activity)
        return (h.square() * (1 + self.weight * _shares(h))).sum(1)


def _shares(h: Tensor) -> Tensor:
    """Return |h_j|/Σ_i |h_i|, (R, U); 0 for a row of zeros."""
    return F.normalize(h.detach().abs(), p=1, dim=1)


def _entropy(p: Tensor) -> Tensor:
    """Return the entropy of each row as a share of the largest possible one, (R, U) → (R,)."""
    entropy: Tensor = torch.special.entr(p).sum(1)
    return entropy / math.log(max(p.shape[1], 2))  # of a single unit it is 0
