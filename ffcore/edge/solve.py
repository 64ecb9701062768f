"""Weights in closed form, from sums over an epoch: [W b]ᵀ = (A + λI)⁻¹ B."""

from __future__ import annotations

import numpy as np

from ffcore.edge.about import Solution
from ffcore.edge.errors import StoppedError
from ffcore.edge.files import Array


def solved(block: str, solution: Solution, a: Array, b: Array, count: int) -> Array:
    """Return the solution, (D, U) for U units.

    Args:
        block: name of the block, for messages.
        solution: the strength λ.
        a: (D, D) sums of xᵀx, with a 1 after the values of x if there is a bias.
        b: (D, U) sums of xᵀz.
        count: number of rows that were summed.

    Raises:
        StoppedError: the sums are singular or not finite.
    """
    if not solution.strength and count < len(a):
        raise StoppedError(
            f"block {block}: {count} rows do not determine {len(a)} weights of a unit; learn from more "
            "samples, or export with strength > 0"
        )
    matrix = np.array(a, np.float64)
    matrix[np.diag_indices_from(matrix)] += solution.strength
    try:
        np.linalg.cholesky(matrix)  # raises for a matrix that is not positive definite; solve need not
        made: Array = np.linalg.solve(matrix, np.asarray(b, np.float64))
    except np.linalg.LinAlgError:
        made = np.array(np.nan)
    if not np.isfinite(made).all():
        raise StoppedError(
            f"block {block}: the sums are singular or not finite, so the weights stay; export with a larger "
            f"strength than {solution.strength:g}"
        )
    return made
