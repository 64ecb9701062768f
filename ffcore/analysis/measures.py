"""Measures of activities: how sparse they are, how many dimensions they fill, and how alike two of them are.

    sparsity of r (n,)     s(r) = (1 − (Σ|r_i| / n)² / (Σ r_i² / n)) / (1 − 1/n)     0: all equal, 1: one-hot
    population sparsity    mean over samples of s(H_n·)        lifetime sparsity    mean over units of s(H_·d)
    zero share             share of H_nd = 0                   dead share           share of d with H_·d = 0

    X = H − mean over samples, with singular values σ_i
    effective rank         exp(−Σ p_i ln p_i),  p_i = σ_i / Σ_j σ_j
    participation ratio    (Σ σ_i²)² / Σ σ_i⁴

    linear CKA             HSIC(X, Y) / √(HSIC(X, X) HSIC(Y, Y)),  HSIC(X, Y) = ‖Yᵀ X‖²_F
    unbiased               HSIC(X, Y) = Σ_{n≠m} A_nm B_nm,  A and B the U-centred X Xᵀ and Y Yᵀ
    U-centred              A_nm − a_n − a_m + a for n ≠ m,
                           a_n = Σ_{m≠n} A_nm / (N − 2),  a = Σ_{n≠m} A_nm / ((N − 1)(N − 2))

N samples; H (N, D) activity, D units: all values of a sample, so that of images each channel at each place is
a unit. Results are computed in float64. A measure that is not defined is NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcore.errors import UserError, a

__all__ = [
    "cosine",
    "dead_share",
    "effective_rank",
    "lifetime_sparsity",
    "linear_cka",
    "participation_ratio",
    "population_sparsity",
    "zero_share",
]

_COLUMNS = 4096
"""Columns that are converted to float64 at a time."""


def population_sparsity(activity: Any) -> float:
    """Return how few units answer to a sample, from 0 (all alike) to 1 (a single one).

    The mean over samples of (1 − (Σ|r_d|/D)² / (Σ r_d²/D)) / (1 − 1/D). It is one minus the measure of Treves
    and Rolls (1991), scaled to [0, 1] as by Vinje and Gallant (Science 287, 2000). Samples without any answer
    do not count.

    >>> population_sparsity([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
    0.5

    Args:
        activity: (N, *shape), a tensor or array.

    Returns:
        The mean; NaN if no unit answers, or with a single unit.

    Raises:
        UserError: it is not an array of finite numbers with a row a sample.
    """
    return _mean_sparsity(rows_of(activity), 1)


def lifetime_sparsity(activity: Any) -> float:
    """Return how few samples a unit answers to, from 0 (all alike) to 1 (a single one).

    As `population_sparsity`, but over the samples of each unit; the mean over units that are not dead.

    >>> lifetime_sparsity([[0.0, 1.0], [4.0, 1.0]])
    0.5

    Args:
        activity: (N, *shape), a tensor or array.

    Raises:
        UserError: it is not an array of finite numbers with a row a sample.
    """
    return _mean_sparsity(rows_of(activity), 0)


def zero_share(activity: Any) -> float:
    """Return the share of values that are exactly 0.

    >>> zero_share([[0.0, 1.0], [0.0, 0.0]])
    0.75

    Args:
        activity: (N, *shape), a tensor or array.

    Raises:
        UserError: it is not an array of finite numbers with a row a sample.
    """
    return float((rows_of(activity) == 0).double().mean())


def dead_share(activity: Any) -> float:
    """Return the share of units that are 0 for every sample.

    >>> dead_share([[0.0, 1.0], [0.0, 0.0]])
    0.5

    Args:
        activity: (N, *shape), a tensor or array.

    Raises:
        UserError: it is not an array of finite numbers with a row a sample.
    """
    return float((rows_of(activity) == 0).all(0).double().mean())


def effective_rank(activity: Any) -> float:
    """Return how many dimensions the samples fill: exp(−Σ p_i ln p_i), p_i = σ_i / Σ_j σ_j.

    σ are the singular values of the activity without its mean (Roy and Vetterli, EUSIPCO 2007, who do not
    subtract it). The result is between 1 and min(N − 1, D), so the number of samples is part of it.

    >>> round(effective_rank([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 6)
    2.0

    Args:
        activity: (N, *shape), a tensor or array, of at least two samples.

    Returns:
        The rank; NaN if all samples are equal.

    Raises:
        UserError: it is not an array of finite numbers with a row a sample, or has a single sample.
    """
    return rank_of(squares(rows_of(activity, least=2)))


def participation_ratio(activity: Any) -> float:
    """Return how many dimensions the variance fills: (Σ λ_i)² / Σ λ_i², λ the eigenvalues of the covariance.

    Small directions count less than in `effective_rank` (Gao et al. 2017, bioRxiv 214262).

    >>> round(participation_ratio([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 6)
    2.0

    Args:
        activity: (N, *shape), a tensor or array, of at least two samples.

    Returns:
        The ratio; NaN if all samples are equal.

    Raises:
        UserError: as for `effective_rank`.
    """
    return ratio_of(squares(rows_of(activity, least=2)))


def linear_cka(x: Any, y: Any, *, unbiased: bool = True) -> float:
    """Return how alike two activities of the same samples are, whatever rotation and scale they have.

    Linear centred kernel alignment (Kornblith et al. 2019, arXiv:1905.00414). Their estimator is biased: of
    independent activities of D units it is about D / (D + N). The unbiased one (Song et al., JMLR 13, 2012;
    Nguyen et al. 2021, arXiv:2010.15327) is about 0 there, and can be slightly below. Both are computed from
    matrices (N, N), or the biased one from (D, D) if that is smaller.

    >>> x = [[0.0, 1.0], [2.0, 0.0], [0.0, 3.0], [4.0, 1.0]]
    >>> round(linear_cka(x, [[5.0 * b, -5.0 * a] for a, b in x]), 6)
    1.0

    Args:
        x: (N, *shape), a tensor or array.
        y: (N, *shape'), of the same samples.
        unbiased: the unbiased estimator, which needs four samples.

    Returns:
        At most 1; NaN if all samples of one activity are equal, or equally far apart.

    Raises:
        UserError: they are not arrays of finite numbers with a row for each of the same samples, or have too
            few samples.
    """
    least = 4 if unbiased else 2
    first, second = rows_of(x, "x", least), rows_of(y, "y", least)
    if len(first) != len(second):
        raise UserError(f"linear_cka: x has {len(first)} samples, but y has {len(second)}")
    if not unbiased and max(first.shape[1], second.shape[1]) < len(first):
        a, b = _centred(first), _centred(second)
        return float((b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm()))
    grams = [gram(first), gram(second)]
    return aligned(*(unit(u_centred(each) if unbiased else each) for each in grams))


def cosine(x: Any, y: Any) -> float:
    """Return the cosine of the angle between two arrays of the same shape, such as gradients.

    >>> cosine([3.0, 0.0], [1.0, 1.0]) == 0.5**0.5
    True

    Args:
        x: a tensor or array.
        y: another of the same shape.

    Returns:
        From −1 to 1; NaN if one of them is zero.

    Raises:
        UserError: the shapes differ.
    """
    first, second = (torch.as_tensor(each).detach().cpu().double().flatten() for each in (x, y))
    if len(first) != len(second):
        raise UserError(f"cosine: x has {len(first)} values, but y has {len(second)}")
    length = math.sqrt(float(first @ first) * float(second @ second))
    return max(-1.0, min(1.0, float(first @ second) / length)) if length > 0 else math.nan


# -- parts, for several measures of one activity -----------------------------------------------------------


def rows_of(activity: Any, name: str = "activity", least: int = 1) -> Tensor:
    """Return an activity as a tensor (N, D) of real numbers.

    Args:
        activity: (N, *shape), a tensor or array.
        name: its name for messages.
        least: least number of samples.

    Raises:
        UserError: it is something else.
    """
    try:
        made = torch.as_tensor(activity if isinstance(activity, Tensor) else np.asarray(activity))
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: should be a tensor or array, not {a(type(activity).__name__)}") from error
    made = made.detach().cpu()
    if made.dim() < 2 or not made.numel():
        raise UserError(f"{name}: should have the shape (N, *shape), not {tuple(made.shape)}")
    if len(made) < least:
        raise UserError(f"{name}: this measure needs at least {least} samples, not {len(made)}")
    if made.is_complex():
        made = torch.view_as_real(made)
    made = made.flatten(1)
    made = made if made.is_floating_point() else made.double()
    if not bool(made.isfinite().all()):
        raise UserError(f"{name}: has values that are not finite")
    return made


def gram(rows: Tensor) -> Tensor:
    """Return X Xᵀ of the rows without their mean, (N, D) → (N, N), in float64."""
    made = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for some in torch.split(rows, _COLUMNS, 1):
        centred = _centred(some)
        made.addmm_(centred, centred.T)
    return made


def _centred(rows: Tensor) -> Tensor:
    """Return rows without their mean, in float64; a constant column becomes exactly 0."""
    made = rows.double() - rows.double().mean(0)
    made[:, (rows == rows[0]).all(0)] = 0
    return made


def squares(rows: Tensor, known: Tensor | None = None) -> Tensor:
    """Return σ_i² of the rows without their mean, from the smaller of the matrices X Xᵀ and Xᵀ X.

    Args:
        rows: (N, D).
        known: X Xᵀ (N, N), if it is known.
    """
    if rows.shape[1] < len(rows):
        centred = _centred(rows)
        known = centred.T @ centred
    values = torch.linalg.eigvalsh(gram(rows) if known is None else known)
    # below: rounding of the matrix, of which a root would be much larger
    least = values[-1].clamp_min(0) * len(values) * torch.finfo(torch.float64).eps
    return torch.masked_select(values, values > least)


def rank_of(squares: Tensor) -> float:
    """Return the effective rank of singular values whose squares are given."""
    if not len(squares):
        return math.nan
    shares = squares.sqrt() / squares.sqrt().sum()
    return math.exp(-float((shares * shares.log()).sum()))


def ratio_of(squares: Tensor) -> float:
    """Return the participation ratio of singular values whose squares are given."""
    return float(squares.sum().square() / squares.square().sum()) if len(squares) else math.nan


def u_centred(matrix: Tensor) -> Tensor:
    """Return a symmetric matrix, U-centred (Székely and Rizzo 2014); see the top of the file."""
    n = len(matrix)
    made = matrix.clone()
    made.fill_diagonal_(0)
    sums = made.sum(1) / (n - 2)
    made.sub_(sums[:, None] + sums[None] - sums.sum() / (n - 1))
    made.fill_diagonal_(0)
    # what is left of samples that are all equally far apart is rounding
    least = 4 * n * torch.finfo(made.dtype).eps * matrix.norm()
    return made if made.norm() > least else torch.zeros_like(made)


def unit(matrix: Tensor) -> Tensor:
    """Return a matrix divided by its Frobenius norm; NaN if it is zero."""
    length = matrix.norm()
    return matrix / length if length > 0 else torch.full_like(matrix, math.nan)


def aligned(a: Tensor, b: Tensor) -> float:
    """Return the sum of the products of two matrices of length 1."""
    return float((a * b).sum())


def _mean_sparsity(rows: Tensor, dim: int) -> float:
    number = rows.shape[dim]
    if number < 2:
        return math.nan
    made = []
    for some in torch.split(rows, _COLUMNS if dim == 0 else 1000, 1 - dim):
        r = some.double()
        square = r.square().mean(dim)
        lives = square > 0
        made.append((1 - r.abs().mean(dim)[lives].square() / square[lives]) / (1 - 1 / number))
    every = torch.cat(made)
    return float(every.mean().clamp(0, 1)) if len(every) else math.nan
