"""Votes by which all ranks take the same branch after the same step, without a barrier at every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ffcore.interfaces import Ranks

_EVERY = 0.5  # seconds between two votes


class Vote:
    """Collects the wishes of all ranks about twice a second.

    The interval is counted in steps, so that all ranks vote after the same step. A vote is an asynchronous
    sum: it is started after one step and read some steps later, when all ranks have contributed, so that no
    rank waits.

    Args:
        ranks: all ranks of the run.
        device: device of the messages.
    """

    def __init__(self, ranks: Ranks, device: torch.device | str = "cpu") -> None:
        self.ranks = ranks
        self.device = device
        self._open: Callable[[], Tensor] | None = None
        self._due: int | None = None
        self._steps = 1
        self._last = time.monotonic()

    def at(self, step: int, wishes: Sequence[bool]) -> list[bool] | None:
        """To be called after every step. Returns the result of the last vote, or None if no vote is due.

        A wish is granted if any rank had it when the vote was started.

        Args:
            step: number of steps of the run so far, the same on all ranks.
            wishes: the wishes of this rank, always the same number.
        """
        if self._due is not None and step < self._due:
            return None
        counted = None
        if self._open is not None:
            *votes, steps = self._open().tolist()
            counted = [vote > 0 for vote in votes]
            self._steps = max(1, int(steps))
        now = time.monotonic()
        took, self._last = now - self._last, now
        # Only rank 0 measures time: the others add 0 steps to the sum. At most twice as many steps as last
        # time.
        steps = self._steps * min(2.0, _EVERY / max(took, 1e-6)) if self.ranks.rank == 0 else 0.0
        message = torch.tensor([*map(float, wishes), float(int(steps))], device=self.device)
        self._open = self.ranks.begin_sum(message)
        self._due = step + self._steps
        return counted

    def now(self, wishes: Sequence[bool]) -> list[bool]:
        """Vote at once: all ranks call this at the same point and wait for each other."""
        return [any(votes) for votes in zip(*self.ranks.objects(list(wishes)), strict=True)]
