"""How ranks take the same branch after the same step without waiting for each other at every one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ffcore.interfaces import Ranks

_EVERY = 0.5  # seconds between two votes


class Vote:
    """Asks all ranks what they wish, about twice a second, counted in steps so that all ask after the same.

    A vote is opened after one step and counted some steps later, when all have been there: nobody waits.

    Args:
        ranks: all of the run.
        device: where their messages have to lie.
    """

    def __init__(self, ranks: Ranks, device: torch.device | str = "cpu") -> None:
        self.ranks = ranks
        self.device = device
        self._open: Callable[[], Tensor] | None = None
        self._due: int | None = None
        self._steps = 1
        self._last = time.monotonic()

    def at(self, step: int, wishes: Sequence[bool]) -> list[bool] | None:
        """After every step: what anybody wished when the last vote was opened, or None if it is not time.

        Args:
            step: steps of the run so far, the same on all ranks.
            wishes: this rank's, always the same number of them.
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
        # the first rank's clock says when the next one is; never more than twice as many steps as last time
        steps = self._steps * min(2.0, _EVERY / max(took, 1e-6)) if self.ranks.rank == 0 else 0.0
        message = torch.tensor([*map(float, wishes), float(int(steps))], device=self.device)
        self._open = self.ranks.begin_sum(message)
        self._due = step + self._steps
        return counted

    def now(self, wishes: Sequence[bool]) -> list[bool]:
        """What anybody wishes: all ranks ask at the same place, and wait for each other."""
        return [any(votes) for votes in zip(*self.ranks.objects(list(wishes)), strict=True)]
