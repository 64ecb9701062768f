"""Cutting a split in two, the same way on every machine.

The order comes from PCG64's raw stream, which numpy promises not to change; `Generator.permutation` it may.
"""

from __future__ import annotations

import numpy as np

from ffcore.data.images import Split
from ffcore.errors import UserError


def permutation(n: int, seed: int) -> np.ndarray:
    """A seeded order of 0..n-1, (n,) int64."""
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def cut(split: Split, validation: int | float, seed: int) -> tuple[Split, Split | None]:
    """Set samples aside for validation, drawn at random without regard to class.

    Args:
        split: N samples.
        validation: a count (int, 0 keeps all for training), or a fraction between 0 and 1.
        seed: what the draw depends on, beside N.

    Returns:
        Training and validation samples, each in their stored order; None for validation 0.

    Raises:
        UserError: the count is negative, not a count, or leaves nothing to train on.
    """
    if validation == 0:
        return split, None
    count = _count(len(split), validation)
    order = permutation(len(split), seed)
    return split.take(np.sort(order[count:])), split.take(np.sort(order[:count]))


def stratified(split: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Cut off `count` samples in which each class has its share, to within one sample.

    Args:
        split: N samples.
        count: how many to cut off, 0 < count < N.
        seed: what the draw depends on, beside the labels.

    Returns:
        What remains, and what was cut off, each in stored order.
    """
    order = permutation(len(split), seed)
    by_class = order[np.argsort(split.y[order], kind="stable")]
    # Every (N / count)-th of the samples sorted by class: neighbours in the list are of one class.
    picked = by_class[(np.arange(count) * len(split)) // count]
    chosen = np.zeros(len(split), dtype=bool)
    chosen[picked] = True
    return split.take(np.flatnonzero(~chosen)), split.take(np.flatnonzero(chosen))


def _count(n: int, validation: int | float) -> int:
    if isinstance(validation, float):
        if not 0 < validation < 1:
            raise UserError(
                f"validation={validation}: a fraction must lie between 0 and 1, a count be a whole number"
            )
        validation = max(1, round(validation * n))
    if not 0 < validation < n:
        raise UserError(f"validation={validation}: must be at least 0 and below the {n} training samples")
    return validation
