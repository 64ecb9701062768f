"""Schedules: which blocks learn in a step, and which of them share a graph."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field

from ffcore.errors import UserError, expect, expect_count, shortened
from ffcore.interfaces import Context, Progress, Schedule
from ffcore.options import Count, NonNegative
from ffcore_std.stopping import Patience, refuse_patience


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

    Raises:
        UserError: the size is not an integer from 1.
    """

    def __init__(self, size: Count = 2) -> None:
        super().__init__()
        expect_count("size", size)
        self.size = size

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return windows of ``size`` blocks, from the first block on."""
        return tuple(range(i, min(i + self.size, blocks)) for i in range(0, blocks, self.size))


class Greedy(Schedule):
    """One block learns after another; finished blocks are frozen.

    Args:
        epochs: number of epochs for each block, or a list with that of every block: no block learns for more,
            nor does the last, so that the run has their sum, or more if readouts learn alone. None divides
            the run's epochs evenly.
        cache: store the outputs of the finished blocks for all views of all training samples, on the training
            device. From the second block on, each sample then has one fixed negative.
        patience: a block also ends after this number of validations without an improvement of its own
            accuracy (of the task's headline); then the next one begins, and after the last the run ends. With
            None for ``epochs`` the last block gets the epochs that others have left.
        least: with patience: smallest improvement of the headline, such as 0.001 for 0.1 points of accuracy.

    Raises:
        UserError: an option is out of its range, or there is a ``least`` without a patience.
    """

    examples = ({"epochs": [2, 1, 1]}, {"patience": 1})

    def __init__(
        self,
        epochs: Count | Annotated[list[Count], Field(min_length=1)] | None = None,
        cache: bool = False,
        patience: Count | None = None,
        least: NonNegative = 0.0,
    ) -> None:
        super().__init__()
        if patience is not None:
            refuse_patience(patience, least)
        elif least:
            raise UserError(f"least: is {shortened(least)}, but only a patience reads it; set patience too")
        epochs = list(epochs) if isinstance(epochs, tuple) else epochs
        _refuse_epochs(epochs)
        self.epochs = epochs
        self.cache = cache
        self.patience, self.least = patience, least
        self._stopped: Patience | None = None

    def setup(self, context: Context) -> None:
        """Make the state of early stopping."""
        if self.patience is not None:
            self._stopped = Patience(self.patience, self.least, context.blocks)

    @property
    def adaptive(self) -> bool:
        """Whether there is a patience."""
        return self.patience is not None

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return the window of the current block; none after the last block has stopped.

        Raises:
            ValueError: when the run has fewer epochs than blocks need, or epochs are listed for another
                number of blocks.
        """
        at = self._at(progress, blocks)
        return () if at is None else (range(at, at + 1),)

    def measured(self, scores: Sequence[float], progress: Progress) -> None:
        """See `Schedule.measured`."""
        at = self._at(progress, len(scores))
        if self._stopped is not None and at is not None and self._stopped.waits(at, scores[at]):
            self._stopped.stop(at, progress.epoch + 1)

    def stopped(self) -> list[int | None]:
        """See `Schedule.stopped`: the blocks that patience has ended."""
        return [] if self._stopped is None else self._stopped.ends

    def finished(self, progress: Progress, blocks: int) -> bool:
        """Return whether the last block has stopped."""
        return (
            blocks > 0
            and self._at(Progress(progress.epoch + 1, progress.step, progress.epochs), blocks) is None
        )

    def last_epoch(self, blocks: int) -> int | None:
        """Return the sum of the epochs of all blocks, if they are given and there is no patience."""
        if self.epochs is None or self.patience is not None:
            return None
        return sum(self.epochs) if isinstance(self.epochs, list) else self.epochs * blocks

    def _at(self, progress: Progress, blocks: int) -> int | None:
        """Return the block that learns; None after the last one has stopped, or if all blocks are frozen."""
        if not blocks:
            return None
        start = 0
        for block, budget in enumerate(self._budgets(progress.epochs, blocks)):
            end = None if self._stopped is None else self._stopped.end(block)
            if end is None and (block < blocks - 1 or self.epochs is not None):
                end = start + budget
            if end is None or progress.epoch < end:
                return block
            start = end
        return None

    def _budgets(self, epochs: int, blocks: int) -> list[int]:
        if isinstance(self.epochs, list) and len(self.epochs) != blocks:
            raise ValueError(f"greedy: epochs of {len(self.epochs)} blocks, but {blocks} learn")
        given = self.epochs if isinstance(self.epochs, list) else [self.epochs or 1] * blocks
        if epochs < sum(given):
            raise ValueError(
                f"greedy: {blocks} blocks need {sum(given)} epochs, but the run has {epochs}: set "
                "trainer.max_epochs; in a loop of your own pass progress=Progress(epoch, step, epochs) of "
                "ffcore.interfaces to learn"
            )
        if self.epochs is not None:
            return list(given)
        # block b learns while epoch · blocks // epochs is b
        starts = [-(-block * epochs // blocks) for block in range(blocks + 1)]
        return [later - earlier for earlier, later in pairwise(starts)]


def _refuse_epochs(epochs: object) -> None:
    """Raise if these are no budgets of blocks, as a recipe would."""
    if epochs == []:
        raise UserError("epochs: should be a number for every block, not an empty list")
    for each in epochs if isinstance(epochs, list) else [] if epochs is None else [epochs]:
        expect_count("epochs", each)


class Interleaved(Schedule):
    """Each block learns in its own span of epochs (interleaved training, CwComp).

    Args:
        spans: (first, end) epoch of each block, from 0; the end is excluded.
        cache: store the outputs of the finished blocks for all training samples, on the training device: with
            readouts, those that readouts read, once no block learns.

    Raises:
        UserError: a span is no pair of epochs, or is empty.
    """

    examples = ({"spans": [[0, 2], [1, 3]]},)

    def __init__(self, spans: Sequence[tuple[int, int]], cache: bool = False) -> None:
        super().__init__()
        self.cache = cache
        expect("spans", spans, (list, tuple), "a list of [first, end], one for every block")
        for span in spans:
            _refuse_span(span)
        self.spans = [(int(start), int(end)) for start, end in spans]

    def last_epoch(self, blocks: int) -> int | None:
        """Return the end of the last span."""
        return max((end for _, end in self.spans), default=None)

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


def _refuse_span(span: Any) -> None:
    expect("spans", span, (list, tuple), "[first, end] for every block")
    if len(span) != 2:
        raise UserError(f"spans: {shortened(span)} should be [first, end]")
    start, end = span
    for each in (start, end):
        expect_count("spans", each, 0)
    if start >= end:
        raise UserError(f"spans: [{start}, {end}] is empty; spans are [first, end) from 0")


class Overlapping(Schedule):
    """Windows of several blocks that shift by one block in every step (Trifecta).

    Args:
        size: number of blocks in a window.

    Raises:
        UserError: the size is not an integer from 1.
    """

    def __init__(self, size: Count = 2) -> None:
        super().__init__()
        expect_count("size", size)
        self.size = size

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return windows of ``size`` blocks that start at step modulo ``size``; shorter ones at the ends."""
        offset = progress.step % self.size
        # Borders of the windows; the first and last window may be shorter.
        cuts = [0, *range(offset or self.size, blocks, self.size), blocks]
        return tuple(range(a, b) for a, b in pairwise(cuts))
