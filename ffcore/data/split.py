"""Splits samples in two, in the same way on every machine.

The order derives from PCG64's raw stream, which NumPy guarantees. `Generator.permutation` may change between
versions of NumPy.
"""

from __future__ import annotations

import numpy as np

from ffcore.data.images import Split
from ffcore.errors import UserError

_OWN = int.from_bytes(b"ffcore")


def permutation(n: int, seed: int, own: bool = False) -> np.ndarray:
    """Returns a random order of 0..n-1 by a seed, (n,) int64.

    Args:
        n: number of samples.
        seed: seed of the order.
        own: whether samples are the user's own. They may have been made with ``np.random.default_rng(seed)``,
            whose raw numbers are those of the order of published data sets: sorted by them, the first
            samples would be those of the smallest values.
    """
    source = np.random.PCG64([seed, _OWN] if own else seed)
    return np.argsort(source.random_raw(n), kind="stable")


def cut(split: Split, validation: int | float, seed: int, own: bool = False) -> tuple[Split, Split | None]:
    """Split off random samples for validation, not stratified by class.

    Args:
        split: N samples.
        validation: a number of samples (int; 0 for none), or a fraction between 0 and 1.
        seed: seed of the choice, which depends on it and on N.
        own: see `permutation`.

    Returns:
        Training and validation samples, each in their stored order; None for validation 0.

    Raises:
        UserError: the number is negative or leaves no training samples, or the fraction is not in (0, 1).
    """
    if validation == 0:
        return split, None
    return parted(split, _count(len(split), validation), seed, own)


def some(split: Split, most: int, seed: int) -> Split:
    """Returns at most ``most`` samples, a random choice by a seed, in stored order."""
    return split if len(split) <= most else split.take(np.sort(permutation(len(split), seed)[:most]))


def parted(split: Split, count: int, seed: int, own: bool = False) -> tuple[Split, Split]:
    """Split off `count` random samples. Returns (the others, the `count`), each in stored order."""
    order = permutation(len(split), seed, own)
    return split.take(np.sort(order[count:])), split.take(np.sort(order[:count]))


def stratified(split: Split, count: int, seed: int, own: bool = False) -> tuple[Split, Split]:
    """Split off `count` random samples, stratified by class to within one sample.

    Args:
        split: N samples.
        count: number of samples to split off, 0 < count < N.
        seed: seed of the choice, which depends on it and on the labels.
        own: see `permutation`.

    Returns:
        The remaining samples and the samples split off, each in stored order.
    """
    order = permutation(len(split), seed, own)
    by_class = order[np.argsort(split.y[order], kind="stable")]
    # Take every (N / count)-th of the samples sorted by class: each class then has its share.
    picked = by_class[(np.arange(count) * len(split)) // count]
    chosen = np.zeros(len(split), dtype=bool)
    chosen[picked] = True
    return split.take(np.flatnonzero(~chosen)), split.take(np.flatnonzero(chosen))


def _count(n: int, validation: int | float) -> int:
    if isinstance(validation, float):
        if not 0 < validation < 1:
            raise UserError(f"validation={validation}: should be a fraction between 0 and 1, or an integer")
        validation = max(1, round(validation * n))
    if not 0 < validation < n:
        raise UserError(f"validation={validation}: must be at least 0 and below the {n} training samples")
    return validation
