"""Schedules: which blocks learn when, and which of them share a graph."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ffcore.interfaces import Progress, Schedule
from ffcore.options import Count


class Joint(Schedule):
    """All blocks learn on every batch, each by itself."""

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """One window a block."""
        return tuple(range(i, i + 1) for i in range(blocks))


class OneWindow(Schedule):
    """All blocks share one graph: backpropagation through the whole network."""

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """One window over everything."""
        return (range(blocks),)


class Greedy(Schedule):
    """One block after another; those before are frozen, those after wait.

    Args:
        epochs: epochs for each block; None shares the run's epochs out evenly, earlier blocks first.
        cache: keep what the finished blocks make of the training set, on the training device: floats of all
            views of all samples. From the second block on every sample then keeps one and the same negative.
    """

    def __init__(self, epochs: Count | None = None, cache: bool = False) -> None:
        super().__init__()
        self.epochs = epochs
        self.cache = cache

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """The one block whose turn it is; the last one keeps learning if epochs are left.

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
    """Each block learns during its own span of epochs (interleaved layer training, CwComp).

    Args:
        spans: (first epoch, end) of each block, from 0, the end not included.
    """

    examples = ({"spans": [[0, 2], [1, 3]]},)

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.spans = [(int(start), int(end)) for start, end in spans]
        for start, end in self.spans:
            if not 0 <= start < end:
                raise ValueError(f"span [{start}, {end}] holds no epoch; spans are [first, end) from 0")

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Windows of one for the blocks whose span holds this epoch.

        Raises:
            ValueError: when the number of spans is not the number of blocks.
        """
        if len(self.spans) != blocks:
            raise ValueError(f"interleaved: {len(self.spans)} spans for {blocks} blocks")
        return tuple(
            range(i, i + 1) for i, (start, end) in enumerate(self.spans) if start <= progress.epoch < end
        )


class Overlapping(Schedule):
    """Windows of several blocks whose tiling shifts by one block with every batch (Trifecta's pairs).

    Args:
        size: blocks in a window.
    """

    def __init__(self, size: Count = 2) -> None:
        super().__init__()
        self.size = size

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Windows of ``size`` that start at step modulo ``size``; shorter ones at the ends."""
        offset = progress.step % self.size
        cuts = [0, *range(offset or self.size, blocks, self.size), blocks]
        return tuple(range(a, b) for a, b in pairwise(cuts))
