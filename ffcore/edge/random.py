"""The random numbers of `torch` on a CPU, and those of ffcore's batches, made with NumPy alone.

torch's generator is mt19937, seeded with the low 32 bits of a seed. `numpy.random.RandomState` is the same
generator, and its bytes are the 32-bit words that torch turns into numbers.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcore.edge.errors import EdgeError

_MASK = (1 << 64) - 1
_WIDE = 1 << 28  # from this bound on, torch takes 64 bits for an integer
_LONGEST = (1 << 32) // 20  # above, torch takes 64 bits for a permutation


def mix(*words: int) -> int:
    """Mix several integers into one 63-bit seed; the same as `ffcore.interfaces.batch_rng.mix`.

    >>> mix(1, 2) == mix(1, 2), mix(1, 2) == mix(2, 1)
    (True, False)
    """
    state = 0
    for word in words:
        state = (state + (word & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


class Generator:
    """The numbers of ``torch.Generator().manual_seed(seed)``.

    Args:
        seed: any integer; torch uses its low 32 bits.

    >>> Generator(0).integers(10, 5)  # torch.randint(10, (5,))
    array([4, 9, 3, 0, 3])
    """

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed & 0xFFFFFFFF)  # its algorithm never changes

    def _words(self, count: int) -> NDArray[np.uint32]:
        return np.frombuffer(self._state.bytes(4 * count), "<u4")

    def _wide(self, count: int) -> NDArray[np.uint64]:
        words = self._words(2 * count).astype(np.uint64)
        return (words[0::2] << np.uint64(32)) | words[1::2]

    def uniform(self, count: int) -> NDArray[np.float32]:
        """Return (count,) numbers in [0, 1), bit for bit those of ``torch.rand``."""
        return (self._words(count) & np.uint32(0xFFFFFF)).astype(np.float32) * np.float32(2**-24)

    def integers(self, high: int, count: int) -> NDArray[np.int64]:
        """Return (count,) numbers in 0 … high - 1, those of ``torch.randint``."""
        if high < _WIDE:
            return (self._words(count) % np.uint32(high)).astype(np.int64)
        return (self._wide(count) % np.uint64(high)).astype(np.int64)

    def normal(self, count: int) -> NDArray[np.float32]:
        """Return (count,) standard normal numbers, those of ``torch.randn`` but for rounding of 1e-6."""
        if count < 16:
            return self._few(count)
        made = self.uniform(count)
        whole = count // 16 * 16
        made[:whole] = _box_muller(made[:whole])
        if whole < count:  # torch makes the last 16 numbers anew
            made[-16:] = _box_muller(self.uniform(16))
        return made

    def _few(self, count: int) -> NDArray[np.float32]:
        pairs = (self._wide(count + count % 2) & np.uint64((1 << 53) - 1)).astype(np.float64) * 2.0**-53
        made = []
        for turn, length in pairs.reshape(-1, 2).tolist():
            radius, angle = math.sqrt(-2 * math.log1p(-length)), 2 * math.pi * turn
            made += [radius * math.cos(angle), radius * math.sin(angle)]
        return np.array(made[:count], np.float32)

    def permutation(self, n: int) -> NDArray[np.int64]:
        """Return 0 … n - 1 in random order, that of ``torch.randperm``.

        Raises:
            EdgeError: n is above 214 million.
        """
        if n >= _LONGEST:
            raise EdgeError(f"a permutation of {n} samples: at most {_LONGEST - 1}")
        ahead = (self._words(n) % np.arange(n, 0, -1, dtype=np.uint32)).tolist()
        order = list(range(n))
        for i, step in enumerate(ahead):
            order[i], order[i + step] = order[i + step], order[i]
        return np.array(order, np.int64)


def _box_muller(uniform: NDArray[np.float32]) -> NDArray[np.float32]:
    pairs = uniform.reshape(-1, 2, 8)
    radius = np.sqrt(np.float32(-2) * np.log(1 - pairs[:, 0]))
    angle = np.float32(2 * math.pi) * pairs[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


def batch_numbers(
    seed: int, step: int, stream: str, call: int, kind: str, shape: tuple[int, ...], high: int | None = None
) -> NDArray[Any]:
    """Return the random numbers that ffcore's batch RNG gives for one request.

    Args:
        seed: seed of the run.
        step: number of batches learned so far.
        stream: name of the stream.
        call: number of the request in its stream, from 0.
        kind: "uniform" in [0, 1), "normal", or "integers" in 0 … high - 1.
        shape: (N, ...) of the result.
        high: upper bound of integers.

    >>> batch_numbers(1, 0, "labels", 0, "integers", (3,), 10).shape
    (3,)
    """
    generator = Generator(mix(seed, step, zlib.crc32(stream.encode()), call))
    count = math.prod(shape)
    if kind == "integers":
        return generator.integers(high or 1, count).reshape(shape)
    made = generator.uniform(count) if kind == "uniform" else generator.normal(count)
    return made.reshape(shape)


def order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """Return the order of n samples in an epoch; the same as that of ffcore's loader."""
    mixed = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    return Generator(int(mixed)).permutation(n)
