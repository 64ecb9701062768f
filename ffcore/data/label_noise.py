"""Wrong labels, to measure how learning stands them.

    round(p N) samples, chosen at random, get y ← (y + 1 + u) mod K,  u uniform on 0 … K − 2

N samples; K classes; p the share of wrong labels. So every other class is equally likely. Random numbers are
PCG64's raw stream, as for splits, in a stream of their own.
"""

from __future__ import annotations

import numpy as np

from ffcore.data.images import Split

_STREAM = int.from_bytes(b"label noise"[:8])


def with_wrong_labels(split: Split, share: float, classes: int, seed: int) -> Split:
    """Returns the samples with a share of wrong classes.

    >>> split = Split(np.zeros((4, 2), dtype="float32"), np.array([0, 1, 2, 0]))
    >>> (with_wrong_labels(split, 0.5, 3, seed=1).y != split.y).sum()
    np.int64(2)

    Args:
        split: N samples with int64 classes (N,).
        share: p, from 0 to 1.
        classes: K, at least 2.
        seed: seed of the choice.
    """
    source = np.random.PCG64([seed, _STREAM])
    count = round(share * len(split))
    chosen = np.argsort(source.random_raw(len(split)), kind="stable")[:count]
    y = split.y.copy()
    further = (source.random_raw(count) % np.uint64(classes - 1)).astype(np.int64)
    y[chosen] = (y[chosen] + 1 + further) % classes
    return Split(split.x, y)
