"""Random numbers that do not depend on how a batch is divided between ranks."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def mix(*words: int) -> int:
    """Mix several integers into one 63-bit seed (the finaliser of splitmix64, chained)."""
    # The masks keep 64 bits: Python's integers do not overflow. torch seeds are signed, hence 63 bits.
    state = 0
    for word in words:
        state = (state + (word & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


class BatchRNG:
    """The random numbers of one batch, keyed by seed, step, stream and index in the *global* batch.

    Each rank generates the numbers of all rows of the global batch and keeps those of its own rows. Two ranks
    together get the same numbers as one rank alone. Every call on a stream gives new numbers; a new step
    restarts all streams.

    Args:
        seed: the run's seed.
        step: number of batches learned so far.
        first: index of this rank's first row in the global batch.
        rows: rows on this rank, N.
        total: rows of the global batch.
        device: device of the generator (CPU and CUDA generators give different numbers).

    >>> a, b = BatchRNG(1, 7, 0, 4, 4), BatchRNG(1, 7, 2, 2, 4)
    >>> bool((a.integers("labels", 10)[2:] == b.integers("labels", 10)).all())
    True
    """

    __slots__ = ("_calls", "device", "first", "rows", "seed", "step", "total")

    def __init__(
        self, seed: int, step: int, first: int, rows: int, total: int, device: torch.device | str = "cpu"
    ) -> None:
        self.seed, self.step, self.first, self.rows, self.total = seed, step, first, rows, total
        self.device = torch.device(device)
        self._calls: dict[str, int] = {}

    def _generator(self, stream: str) -> torch.Generator:
        # crc32, since Python's hash of a string differs from process to process
        call = self._calls.get(stream, 0)
        self._calls[stream] = call + 1
        generator = torch.Generator(self.device)
        generator.manual_seed(mix(self.seed, self.step, zlib.crc32(stream.encode()), call))
        return generator

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """Return (N, *shape) uniform numbers in [0, 1)."""
        g = self._generator(stream)
        return self._own_rows(torch.rand(self.total, *shape, generator=g, device=self.device))

    def normal(self, stream: str, *shape: int) -> Tensor:
        """Return (N, *shape) standard normal numbers."""
        g = self._generator(stream)
        return self._own_rows(torch.randn(self.total, *shape, generator=g, device=self.device))

    def integers(self, stream: str, high: int, *shape: int) -> Tensor:
        """Return (N, *shape) int64 numbers in 0 … high − 1."""
        g = self._generator(stream)
        return self._own_rows(torch.randint(high, (self.total, *shape), generator=g, device=self.device))

    def _own_rows(self, of_all: Tensor) -> Tensor:
        return of_all[self.first : self.first + self.rows]
