"""Mean and standard deviation of a split, for standardisation.

N samples; C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ffcore.data.images import Split

CHUNK = 1000  # samples converted to float64 at a time: all of them would need eight times their memory


def statistics(split: Split, scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and standard deviation of the scaled values, per channel.

    Args:
        split: images (N, C, H, W), or samples of any other shape, which are one channel.
        scale: factor of the stored values.

    Returns:
        C means and C standard deviations; the deviation of a constant channel is 1.
    """
    count = split.x.size / _channels(split)
    mean = sum(x.sum(axis=(0, 2)) for x in _chunks(split, scale)) / count
    # a second pass over the data: E[x²] − E[x]² would lose digits
    variance = sum(np.square(x - mean[:, None]).sum(axis=(0, 2)) for x in _chunks(split, scale)) / count
    std = np.sqrt(variance)
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())


def _channels(split: Split) -> int:
    return split.x.shape[1] if split.x.ndim == 4 else 1


def _chunks(split: Split, scale: float) -> Iterator[np.ndarray]:
    for first in range(0, len(split), CHUNK):
        x = split.x[first : first + CHUNK]
        yield x.reshape(len(x), _channels(split), -1) * np.float64(scale)
