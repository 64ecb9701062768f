"""The contract of schedules: which blocks learn in a step, and which of them share a graph."""

from __future__ import annotations

from abc import abstractmethod

from ffcore.interfaces.component import Component, Progress


class Schedule(Component):
    """Chooses which blocks learn, from the progress of the run.

    Attributes:
        cache: store the input of the first learning block for every training sample, so that the blocks
            before it need not run again. The views of each sample are then fixed until the windows change.
            With readouts, the handoffs that these read are stored, once no block learns.
    """

    cache: bool = False

    @abstractmethod
    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return the windows: ranges of block indices, ascending and disjoint.

        The blocks of one range share a graph and learn together after the last of them has run. One range
        over all blocks is backpropagation; ranges of one block are forward-only. Blocks in no range are
        frozen.
        """
