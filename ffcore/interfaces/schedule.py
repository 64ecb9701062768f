"""The contract of schedules: which blocks learn when, and which share a graph."""

from __future__ import annotations

from abc import abstractmethod

from ffcore.interfaces.component import Component, Progress


class Schedule(Component):
    """Tells which blocks learn at a moment of the run.

    Attributes:
        cache: draw the views of every sample once for as long as the windows stay the same, and keep what the
            blocks before the first learning one make of them, so that those need not run again.
    """

    cache: bool = False

    @abstractmethod
    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Ranges of block indices, ascending and disjoint.

        Blocks of one range share a graph and learn together when its last one has run: a range over
        everything is backpropagation, ranges of one block are forward-only. Blocks in no range are frozen.
        """
