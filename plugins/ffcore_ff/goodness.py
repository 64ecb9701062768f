"""Goodness as an energy of the activity.

R rows; U units of a row, over all its dimensions.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import Goodness
from ffcore.interfaces.goodness import Kind


def sum_squares(activity: Tensor) -> Tensor:
    """Σ_j h_j² over a row's units, (R, *shape) → (R,); low precision is summed in float32.

    >>> sum_squares(torch.tensor([[1.0, 2.0], [0.0, 3.0]])).tolist()
    [5.0, 9.0]
    """
    rows = activity.flatten(1)
    if rows.dtype in (torch.bfloat16, torch.float16):
        rows = rows.float()
    return rows.square().sum(1)


def _along_rows(up: Tensor, activity: Tensor) -> Tensor:
    return up.to(activity.dtype).view(-1, *(1,) * (activity.dim() - 1))


class SumSquares(Goodness):
    """G = Σ_j h_j² (Hinton 2022, section 2)."""

    kind: ClassVar[Kind] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return sum_squares(activity)

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """2 h · up."""
        return activity * _along_rows(2 * up, activity)


class MeanSquares(Goodness):
    """G = (1/U) Σ_j h_j², usually with a threshold of 2."""

    kind: ClassVar[Kind] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return sum_squares(activity) / activity[0].numel()

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """2 h/U · up."""
        return activity * _along_rows(2 / activity[0].numel() * up, activity)


class NegativeSumSquares(Goodness):
    """G = −Σ_j h_j²: positive data is driven to low activity (Hinton's "min ssq", predictive FF)."""

    kind: ClassVar[Kind] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return -sum_squares(activity)

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """−2 h · up."""
        return activity * _along_rows(-2 * up, activity)
