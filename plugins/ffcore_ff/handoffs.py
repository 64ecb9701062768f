"""Normalisation between blocks. It removes the length of an activity, which determines its goodness.

    rms: z = h / (√(Σ_j h_j²/U) + ε);  l2: z = h / (√(Σ_j h_j²) + ε)

R rows; U units of a row, or of one vector along a dimension; h, z (R, *shape). A silent row, h = 0, stays
zero, and its derivative is that of z = h.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ffcore.interfaces import c99
from ffcore.options import NonNegative


def row_norm(x: Tensor) -> Tensor:
    """Return ‖x‖₂ of each row over all its dimensions, (R, *shape) → (R, 1, …)."""
    # vector_norm needs no tensor of squares.
    length: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return length.view(-1, *(1,) * (x.dim() - 1))


def _divisor(length: Tensor, eps: float) -> Tensor:
    """Return what rows are divided by; of a silent row with a graph 1, not ε: the derivative would be 1/ε."""
    made = length + eps
    return made.masked_fill(length == 0, 1.0) if made.requires_grad else made


def rms(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Divide each row by its root mean square, (R, *shape) → (R, *shape)."""
    return x / _divisor(row_norm(x) / math.sqrt(x[0].numel()), eps)


def l2(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Divide each row by its length, (R, *shape) → (R, *shape)."""
    return x / _divisor(row_norm(x), eps)


class RMS(nn.Module):
    """Division by the root mean square, z = h / √(mean_j h_j²) (Hinton's code).

    Then Σ z² = U. Unlike layer norm it does not subtract the mean.

    Args:
        eps: added to the divisor, so that a row of zeros remains zero.
        dim: the dimension of one activity along which each vector is divided by its own: -1 for tokens
            (T, D), where padding must not count, 0 for the channels of each pixel. null: all of the row.
    """

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({}, {"dim": -1}, {"dim": 0})

    def __init__(self, eps: NonNegative = 1e-8, dim: Literal[-1, 0] | None = None) -> None:
        super().__init__()
        self.eps, self.dim = eps, dim

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        if self.dim is None:
            return rms(x, self.eps)
        along = -1 if self.dim == -1 else 1
        length: Tensor = torch.linalg.vector_norm(x, dim=along, keepdim=True)
        return x / _divisor(length / math.sqrt(x.shape[along]), self.eps)

    def c99(self) -> c99.InPlace:
        """Return the C form; see `ffcore.interfaces.c99`.

        Raises:
            ValueError: with ``dim``.
        """
        if self.dim is not None:
            raise ValueError("dim has no C form; activities of dense layers have no positions")
        return c99.InPlace(_divided("sqrtf(dot(h, h, units)) / sqrtf((float)units)", self.eps))


class L2(nn.Module):
    """Division by the length, z = h / ‖h‖₂.

    Args:
        eps: added to the divisor, so that a row of zeros remains zero.
    """

    def __init__(self, eps: NonNegative = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        return l2(x, self.eps)

    def c99(self) -> c99.InPlace:
        """Return the C form; see `ffcore.interfaces.c99`."""
        return c99.InPlace(_divided("sqrtf(dot(h, h, units))", self.eps))


def _divided(length: str, eps: float) -> str:
    """Return C statements that divide h by an expression."""
    return (
        f"const float length = {length} + {c99.literal(eps)};\n"
        "for (uint32_t j = 0u; j < units; ++j) {\n"
        "    h[j] /= length;\n"
        "}"
    )
