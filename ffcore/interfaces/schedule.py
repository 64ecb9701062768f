"""The contract of schedules: which blocks learn in a step, and which of them share a graph."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

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

    @property
    def adaptive(self) -> bool:
        """Whether the windows depend on validation: whether the class has a `measured` of its own."""
        return type(self).measured is not Schedule.measured

    def measured(self, scores: Sequence[float], progress: Progress) -> None:
        """Note how good the blocks are, after each validation.

        What this changes belongs into the state of the module, so that a resumed run has the same windows:
        ``get_extra_state`` rather than buffers, which a GPU would have to send back in every step.

        Args:
            scores: (B,) the task's headline on the validation split, for the evidence of each of the B blocks
                that `windows` counts; larger is better, −∞ if it is not defined. A block without evidence of
                its own has that of the whole network.
            progress: epoch and step before the validation.
        """

    def last_epoch(self, blocks: int) -> int | None:
        """Return the epoch, from 1, after which no block learns, if that is known before training.

        A run that has more epochs is refused, unless something else learns in them.
        """
        return None

    def stopped(self) -> Sequence[int | None]:
        """Return, for each block, the number of epochs after which it was stopped; None: it was not."""
        return ()

    def finished(self, progress: Progress, blocks: int) -> bool:
        """Return whether no block will learn any more because of what was `measured`. The run then ends."""
        return False
