"""Goodness of form "energy": one number per row.

    sum-squares     G = Σ_j h_j²            ∂G/∂h = 2 h
    mean-squares    G = Σ_j h_j²/U          ∂G/∂h = 2 h/U
    mean-absolute   G = Σ_j |h_j|/U         ∂G/∂h = sign(h)/U
    max             G = max_j h_j           ∂G/∂h = 1 at the largest unit

R rows; U units of a row, over all its dimensions; h (R, *shape); G (R,).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import Goodness, c99
from ffcore.interfaces.goodness import Form


def sum_squares(activity: Tensor) -> Tensor:
    """Return Σ_j h_j² over a row's units, (R, *shape) → (R,); float16 and bfloat16 are summed in float32.

    >>> sum_squares(torch.tensor([[1.0, 2.0], [0.0, 3.0]])).tolist()
    [5.0, 9.0]
    """
    return _full(activity).square().sum(1)


def _full(activity: Tensor) -> Tensor:
    """Return (R, U) in at least float32: sums of many float16 or bfloat16 numbers are inaccurate."""
    rows = activity.flatten(1)
    return rows.float() if rows.dtype in (torch.bfloat16, torch.float16) else rows


def _along_rows(up: Tensor, activity: Tensor) -> Tensor:
    return up.to(activity.dtype).view(-1, *(1,) * (activity.dim() - 1))


class SumSquares(Goodness):
    """Sum of squared activities, G = Σ_j h_j² (Hinton 2022, section 2)."""

    form: ClassVar[Form] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return sum_squares(activity)

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """Return 2 h · up."""
        return activity * _along_rows(2 * up, activity)

    def c99(self) -> c99.Energy:
        """Return the C form; see `ffcore.interfaces.c99`."""
        return c99.Energy("return dot(h, h, units);", "return 2.0f * h[j];")


class MeanSquares(Goodness):
    """Mean of squared activities, G = (1/U) Σ_j h_j²; usual threshold 2.

    >>> MeanSquares(padding=True)(torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])).item()
    5.0

    Args:
        padding: for tokens (T, D), whether vectors of zeros are left out of the mean: U is then D times the
            number of the others.
    """

    form: ClassVar[Form] = "energy"
    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({}, {"padding": True})

    def __init__(self, padding: bool = False) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return sum_squares(activity) / self._units(activity)

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """Return 2 h/U · up."""
        return activity * _along_rows(2 / self._units(activity) * up, activity)

    def c99(self) -> c99.Energy:
        """Return the C form; see `ffcore.interfaces.c99`.

        Raises:
            ValueError: with ``padding``.
        """
        if self.padding:
            raise ValueError("padding: true has no C form; inputs of dense layers have no positions")
        return c99.Energy("return dot(h, h, units) / (float)units;", "return 2.0f * h[j] / (float)units;")

    def _units(self, activity: Tensor) -> int | Tensor:
        """Return U, or (R,) numbers."""
        if not self.padding:
            return activity[0].numel()
        real = (activity != 0).any(-1).view(activity.shape[0], -1).sum(1)
        return (activity.shape[-1] * real.clamp_min(1)).to(torch.promote_types(activity.dtype, torch.float32))


class NegativeSumSquares(Goodness):
    """Negative sum of squared activities, G = −Σ_j h_j² (Hinton's "min ssq").

    Positives are driven to low activity. Used by predictive Forward-Forward.
    """

    form: ClassVar[Form] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return -sum_squares(activity)

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """Return −2 h · up."""
        return activity * _along_rows(-2 * up, activity)

    def c99(self) -> c99.Energy:
        """Return the C form; see `ffcore.interfaces.c99`."""
        return c99.Energy("return -dot(h, h, units);", "return -2.0f * h[j];")


class MeanAbsolute(Goodness):
    """Mean absolute activity, G = (1/U) Σ_j |h_j|."""

    form: ClassVar[Form] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return _full(activity).abs().mean(1)

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """Return sign(h)/U · up."""
        return activity.sign() * _along_rows(up / activity[0].numel(), activity)

    def c99(self) -> c99.Energy:
        """Return the C form; see `ffcore.interfaces.c99`."""
        return c99.Energy(
            "float sum = 0.0f;\n"
            "for (uint32_t i = 0u; i < units; ++i) {\n"
            "    sum += fabsf(h[i]);\n"
            "}\n"
            "return sum / (float)units;",
            "const float sign = h[j] > 0.0f ? 1.0f : (h[j] < 0.0f ? -1.0f : 0.0f);\n"
            "return sign / (float)units;",
        )


class Max(Goodness):
    """Largest activity, G = max_j h_j; the gradient goes to the first maximum."""

    form: ClassVar[Form] = "energy"

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,)."""
        return _full(activity).max(1).values

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """Return ``up`` at the largest unit, 0 elsewhere."""
        # argmax returns the first maximum.
        largest = activity.flatten(1).argmax(1, keepdim=True)
        rows = torch.zeros_like(activity).flatten(1)
        return rows.scatter_(1, largest, up.to(rows.dtype).unsqueeze(1)).view_as(activity)

    def c99(self) -> c99.Energy:
        """Return the C form; see `ffcore.interfaces.c99`."""
        return c99.Energy(
            "float largest = h[0];\n"
            "for (uint32_t i = 1u; i < units; ++i) {\n"
            "    largest = h[i] > largest || isnan(h[i]) ? h[i] : largest;\n"
            "}\n"
            "return largest;",
            "uint32_t first = 0u; /* the gradient goes to the first maximum */\n"
            "while (first < j && h[first] < g) {\n"
            "    ++first;\n"
            "}\n"
            "return first == j && !(h[j] < g) ? 1.0f : 0.0f;",
        )
