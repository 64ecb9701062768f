"""Weights and activities rounded to eight bits.

    W_ji ≈ s_j q_ji,  x_i ≈ s q_i      q in −127 … 127, s the largest |value| of the row, divided by 127
    a_j = s s_j Σ_i q_ji q_i + b_j     the sum in int32, exact

W (U, D); x (R, D); a (R, U).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Values = np.ndarray[Any, Any]

INPUTS = (2**31 - 1) // 127**2
"""Largest number of inputs of a unit whose sum int32 holds."""


def rounded(rows: Values) -> tuple[Values, Values]:
    """Return q (R, D), int8, and s (R,), float32, of rows (R, D); halves are rounded away from zero.

    >>> q, s = rounded(np.array([[1.0, -2.0, 0.01], [0, 0, 0]], np.float32))
    >>> q.tolist(), [round(float(each), 4) for each in s]
    ([[64, -127, 1], [0, 0, 0]], [0.0157, 1.0])
    """
    largest = np.abs(rows).max(1)
    scale = np.where(largest > 0, largest / np.float32(127), np.float32(1)).astype(np.float32)
    scaled = rows / scale[:, None]
    return np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int8), scale


def multiplied(x: Values, weight: Values, bias: Values | None) -> Values:
    """Return a (R, U) of x (R, D), W (U, D) and b (U,), bit for bit as the C code computes it."""
    q, s = rounded(x)
    rows, scales = rounded(weight)
    sums = q.astype(np.int64) @ rows.astype(np.int64).T
    made: Values = sums.astype(np.float32) * (s[:, None] * scales[None])
    return made if bias is None else made + bias
