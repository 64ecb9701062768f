"""Schedules: which blocks learn in a step, and which of them share a graph."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ffcore.interfaces import Progress, Schedule
from ffcore.options import Count


class Joint(Schedule):
    """All blocks learn in every step, each in its own window."""

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return one window per block."""
        return tuple(range(i, i + 1) for i in range(blocks))


class OneWindow(Schedule):
    """One window over all blocks: backpropagation."""

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return one window over all blocks."""
        return (range(blocks),)


class Windows(Schedule):
    """All blocks learn in every step, in fixed windows of several blocks. The last window may be shorter.

    Within a window the gradient of every local loss reaches all earlier blocks of the window. One block a
    window is `joint`; one window over all blocks, with a loss in each, is deep supervision (Lee et al. 2015,
    arXiv:1409.5185).

    Args:
        size: number of blocks in a window.
    """

    def __init__(self, size: Count = 2) -> None:
        super().__init__()
        self.size = size

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return windows of ``size`` blocks, from the first block on."""
        return tuple(range(i, min(i + self.size, blocks)) for i in range(0, blocks, self.size))


class Greedy(Schedule):
    """One block learns after another; finished blocks are frozen.

    Args:
        epochs: number of epochs for each block; None divides the run's epochs evenly.
        cache: store the outputs of the finished blocks for all views of all training samples, on the training
            device. From the second block on, each sample then has one fixed negative.
    """

    def __init__(self, epochs: Count | None = None, cache: bool = False) -> None:
        super().__init__()
        self.epochs = epochs
        self.cache = cache

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return the window of the current block. The last block learns in all remaining epochs.

        Raises:
            ValueError: when the run has fewer epochs than blocks need.
        """
        needed = (self.epochs or 1) * blocks
        if progress.epochs < needed:
            raise ValueError(
                f"greedy: {blocks} blocks need {needed} epochs, trainer.max_epochs is {progress.epochs}"
            )
        at = progress.epoch // self.epochs if self.epochs else progress.epoch * blocks // progress.epochs
        at = min(at, blocks - 1)
        return (range(at, at + 1),)


class Interleaved(Schedule):
    """Each block learns in its own span of epochs (interleaved training, CwComp).

    Args:
        spans: (first, end) epoch of each block, from 0; the end is excluded.
        cache: store the outputs of the finished blocks for all training samples, on the training device: with
            readouts, those that readouts read, once no block learns.
    """

    examples = ({"spans": [[0, 2], [1, 3]]},)

    def __init__(self, spans: Sequence[tuple[int, int]], cache: bool = False) -> None:
        super().__init__()
        self.cache = cache
        self.spans = [(int(start), int(end)) for start, end in spans]
        for start, end in self.spans:
            if not 0 <= start < end:
                raise ValueError(f"span [{start}, {end}] is empty; spans are [first, end) from 0")

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return one window for each block whose span contains this epoch.

        Raises:
            ValueError: when the number of spans is not the number of blocks.
        """
        if len(self.spans) != blocks:
            raise ValueError(f"interleaved: {len(self.spans)} spans for {blocks} blocks")
        return tuple(
            range(i, i + 1) for i, (start, end) in enumerate(self.spans) if start <= progress.epoch < end
        )


class Overlapping(Schedule):
    """Windows of several blocks that shift by one block in every step (Trifecta).

    Args:
        size: number of blocks in a window.
    """

    def __init__(self, size: Count = 2) -> None:
        super().__init__()
        self.size = size

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return windows of ``size`` blocks that start at step modulo ``size``; shorter ones at the ends."""
        offset = progress.step % self.size
        # Borders of the windows; the first and last window may be shorter.
        cuts = [0, *range(offset or self.size, blocks, self.size), blocks]
        return tuple(range(a, b) for a, b in pairwise(cuts))
