"""Normalisations between blocks: the length of an activity is its goodness and must not be handed on.

R rows; U units of a row.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ffcore.options import NonNegative


def row_norm(x: Tensor) -> Tensor:
    """‖x‖₂ of each row over all its dimensions, (R, *shape) → (R, 1, …)."""
    length: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return length.view(-1, *(1,) * (x.dim() - 1))


def rms(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Each row divided by its root mean square, (R, *shape) → (R, *shape)."""
    return x / (row_norm(x) / math.sqrt(x[0].numel()) + eps)


def l2(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Each row divided by its length, (R, *shape) → (R, *shape)."""
    return x / (row_norm(x) + eps)


class RMS(nn.Module):
    """z = h / √(mean_j h_j²): mean square 1, so that Σ z² = U. No mean is taken off (Hinton's code).

    Args:
        eps: added to the divisor, so that a silent row stays zero.
    """

    def __init__(self, eps: NonNegative = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        return rms(x, self.eps)


class L2(nn.Module):
    """z = h / ‖h‖₂: length 1.

    Args:
        eps: added to the divisor, so that a silent row stays zero.
    """

    def __init__(self, eps: NonNegative = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        return l2(x, self.eps)
