"""Which blocks learn in a step, and which of them share a graph."""

from __future__ import annotations

from ffcore.interfaces import Progress, Schedule


class Mine(Schedule):
    """Blocks learn in turn: those of even index in one step, those of odd index in the next."""

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return the windows: ranges of block indices, ascending. A range of one block is forward-only."""
        first = progress.step % 2 if blocks > 1 else 0
        return tuple(range(index, index + 1) for index in range(first, blocks, 2))
