"""Energies after rules of synaptic plasticity.

    oja    G = Σ_j h_j² − α Σ_j h_j⁴
    bcm    G = Σ_j h_j² + w Σ_j h_j² (h_j² − θ_j)        θ ← μ θ + (1 − μ) · mean_r h_r²

R rows r of a batch; U units of a row, over all its dimensions; h (R, *shape); G (R,); θ (U,), constant in the
gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ffcore.interfaces import Context, Goodness, ranks
from ffcore.options import BelowOne, NonNegative
from ffcore_goodness.energies import units


class Oja(Goodness):
    """Sum of squares with a quartic decay, G = Σ h² − α Σ h⁴ (arXiv:2511.18567).

    It falls again where h² > 1/(2α).

    Args:
        alpha: α.
    """

    def __init__(self, alpha: NonNegative = 0.0001) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        squares = units(activity).square()
        return (squares - self.alpha * squares.square()).sum(1)


class BCM(Goodness):
    """Sum of squares and h² (h² − θ), with a sliding threshold for each unit (arXiv:2511.18567).

    θ is a running mean of h² over the rows of all views. It moves when the block learns, before the goodness.

    Args:
        weight: w.
        momentum: μ, share of the previous θ in the next.
    """

    theta: Tensor

    def __init__(self, weight: NonNegative = 0.01, momentum: BelowOne = 0.9) -> None:
        super().__init__()
        self.weight = weight
        self.momentum = momentum

    def setup(self, context: Context) -> None:
        """Make θ, zero."""
        self.register_buffer("theta", torch.zeros(math.prod(context.shape)))

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        squares = units(activity).square()
        if learns(self):
            self.theta.lerp_(_mean(squares.detach()).to(self.theta), 1 - self.momentum)
        return (squares * (1 + self.weight * (squares - self.theta))).sum(1)


def learns(goodness: Goodness) -> bool:
    """Return whether a running statistic should move: not in a pass without learning."""
    return goodness.training and torch.is_grad_enabled()


def _mean(rows: Tensor) -> Tensor:
    """Return the mean over the rows of all ranks, (R, U) → (U,)."""
    total = ranks().sum(torch.cat([rows.sum(0), rows.new_full((1,), rows.shape[0])]))
    return total[:-1] / total[-1]
