"""Goodness as an energy of the activity.

R rows; U units of a row, over all its dimensions.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import Goodness
from ffcore.interfaces.goodness import Form


def sum_squares(activity: Tensor) -> Tensor:
    """Σ_j h_j² over a row's units, (R, *shape) → (R,); low precision is summed in float32.

    >>> sum_squares(torch.tensor([[1.0, 2.0], [0.0, 3.0]])).tolist()
    [5.0, 9.0]
    """
    return _full(activity).square().sum(1)


def _full(activity: Tensor) -> Tensor:
    """(R, U), low precision as float32: sums over many units would lose too much."""
    rows = activity.flatten(1)
    return rows.float() if rows.dtype in (torch.bfloat16, torch.float16) else rows


def _along_rows(up: Tensor, activity: Tensor) -> Tensor:
    return up.to(activity.dtype).view(-1, *(1,) * (activity.dim() - 1))


class SumSquares(Goodness):
    """G = Σ_j h_j² (Hinton 2022, section 2)."""

    form: ClassVar[Form] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return sum_squares(activity)

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """2 h · up."""
        return activity * _along_rows(2 * up, activity)


class MeanSquares(Goodness):
    """G = (1/U) Σ_j h_j², usually with a threshold of 2."""

    form: ClassVar[Form] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return sum_squares(activity) / activity[0].numel()

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """2 h/U · up."""
        return activity * _along_rows(2 / activity[0].numel() * up, activity)


class NegativeSumSquares(Goodness):
    """G = −Σ_j h_j²: positive data is driven to low activity (Hinton's "min ssq", predictive FF)."""

    form: ClassVar[Form] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return -sum_squares(activity)

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """−2 h · up."""
        return activity * _along_rows(-2 * up, activity)


class MeanAbsolute(Goodness):
    """G = (1/U) Σ_j |h_j|."""

    form: ClassVar[Form] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return _full(activity).abs().mean(1)

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """sign(h)/U · up."""
        return activity.sign() * _along_rows(up / activity[0].numel(), activity)


class Max(Goodness):
    """G = max_j h_j; of several largest units the first one counts."""

    form: ClassVar[Form] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return _full(activity).max(1).values

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """``up`` at the largest unit, 0 elsewhere."""
        largest = activity.flatten(1).argmax(1, keepdim=True)
        rows = torch.zeros_like(activity).flatten(1)
        return rows.scatter_(1, largest, up.to(rows.dtype).unsqueeze(1)).view_as(activity)
