"""Early stopping of single blocks.

    a block that learns, after each validation with score s:
        s > best + least:  best ← s, waited ← 0;  otherwise waited ← waited + 1
        stops when waited = patience

B blocks. The score is the task's headline on validation, from the block's own evidence; larger is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from ffcore.errors import UserError, expect, expect_count
from ffcore.interfaces import Context, Progress, Schedule
from ffcore.options import ByName, Count, NonNegative
from ffcore.parts import part


def refuse_patience(patience: int, least: float) -> None:
    """Raise if these are no options of a `Patience`, as a recipe would.

    Raises:
        UserError: the patience is not an integer from 1, or the least improvement is below 0.
    """
    expect_count("patience", patience)
    expect("least", least, (int, float), "a number from 0")
    if not least >= 0:
        raise UserError(f"least: should be a number from 0, not {least}")


class Patience(nn.Module):
    """When each of B blocks has stopped. A module, so that a checkpoint of its schedule has the state.

    Args:
        patience: number of validations without improvement after which a block stops.
        least: smallest improvement.
        blocks: number of blocks B.
    """

    def __init__(self, patience: int, least: float, blocks: int) -> None:
        super().__init__()
        self.patience, self.least = patience, least
        # numbers, not buffers: on a GPU every step would wait to read them
        self._best = [-math.inf] * blocks
        self._waited = [0] * blocks
        self._ends: list[int | None] = [None] * blocks

    def end(self, block: int) -> int | None:
        """Return the epoch from which a block does not learn any more; None if it has not stopped."""
        return self._ends[block]

    @property
    def ends(self) -> list[int | None]:
        """`end` of every block."""
        return list(self._ends)

    def stop(self, block: int, epoch: int) -> None:
        """Let a block learn no more from this epoch on."""
        self._ends[block] = epoch

    def waits(self, block: int, score: float) -> bool:
        """Note the score of a block; return whether its patience has ended."""
        if score > self._best[block] + self.least:
            self._best[block], self._waited[block] = score, 0
        else:
            self._waited[block] += 1
        return self._waited[block] >= self.patience

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state for checkpoints."""
        return {"best": list(self._best), "waited": list(self._waited), "ends": list(self._ends)}

    def set_extra_state(self, state: Any) -> None:
        """Restore the state."""
        self._best, self._waited = list(state["best"]), list(state["waited"])
        self._ends = list(state["ends"])


class Stopping(Schedule):
    """Another schedule, whose windows stop when their blocks do not improve on the validation split.

    In the other schedule the same blocks learn in every epoch; `greedy` has a patience of its own. A window
    stops when each of its blocks has had ``patience`` validations without an improvement, and no block before
    it learns any more: the input of a block that has stopped does not change. The run ends when all windows
    have stopped, or after its epochs.

    Args:
        schedule: the other schedule.
        patience: number of validations.
        least: smallest improvement of the task's headline on validation, such as 0.001 for 0.1 points of
            accuracy.

    Raises:
        UserError: an option is out of its range, or the other schedule stops blocks by itself.
    """

    examples = ({"schedule": "one-window", "patience": 1},)

    def __init__(
        self, schedule: Schedule | ByName = "joint", patience: Count = 3, least: NonNegative = 0.0
    ) -> None:
        super().__init__()
        refuse_patience(patience, least)
        self.schedule: Schedule = part("schedule", schedule)
        self.patience, self.least = patience, least
        if self.schedule.adaptive:
            raise UserError("schedule: it stops blocks by itself; leave stopping out")
        self.cache = self.schedule.cache
        self._checked: tuple[int, int] | None = None

    def setup(self, context: Context) -> None:
        """Set the other schedule up, and make the state."""
        self.schedule.setup(context)
        self._stopped = Patience(self.patience, self.least, context.blocks)

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return the windows of the other schedule that have not stopped.

        Raises:
            ValueError: when the other schedule lets blocks learn in turns.
        """
        self._refuse_turns(progress.epochs, blocks)
        return tuple(
            window
            for window in self.schedule.windows(progress, blocks)
            if not self._has_stopped(window, progress)
        )

    def measured(self, scores: Sequence[float], progress: Progress) -> None:
        """See `Schedule.measured`."""
        before = True  # whether all windows before this one have stopped
        for window in self.windows(progress, len(scores)):
            ended = [self._stopped.waits(block, scores[block]) for block in window]
            before = before and all(ended)
            if before:
                for block in window:
                    self._stopped.stop(block, progress.epoch + 1)

    def stopped(self) -> list[int | None]:
        """See `Schedule.stopped`."""
        return self._stopped.ends

    def finished(self, progress: Progress, blocks: int) -> bool:
        """Return whether every window of the next epoch has stopped."""
        following = Progress(progress.epoch + 1, progress.step, progress.epochs)
        return bool(self.schedule.windows(following, blocks)) and not self.windows(following, blocks)

    def _refuse_turns(self, epochs: int, blocks: int) -> None:
        if self._checked == (epochs, blocks):
            return
        of_epochs = (self.schedule.windows(Progress(epoch, 0, epochs), blocks) for epoch in range(epochs))
        learning = {tuple(i for window in windows for i in window) for windows in of_epochs}
        if len(learning) > 1:
            raise ValueError(
                "stopping: the schedule inside lets blocks learn in turns; use greedy with a patience"
            )
        self._checked = (epochs, blocks)

    def _has_stopped(self, window: range, progress: Progress) -> bool:
        ends = [self._stopped.end(block) for block in window]
        return all(end is not None and end <= progress.epoch for end in ends)
