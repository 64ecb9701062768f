"""What calls to something outside of torch cost, by purpose: black boxes, and programs inside of blocks.

building     the dry run that finds shapes
fitting      passes that a box is fitted on, and the fit itself
learning     passes in which blocks or readouts learn
measuring    validation, history and test of a run
predicting   everything else
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

from ffcore.local.current import current

Purpose = Literal["building", "fitting", "learning", "measuring", "predicting"]

PURPOSE: ContextVar[Purpose | None] = ContextVar("ffcore_box_purpose", default=None)
"""The purpose of passes; None: learning where the pass learns, else predicting."""


class Use(NamedTuple):
    """What calls of a box have cost.

    Attributes:
        calls: number of calls.
        rows: rows of all calls.
        seconds: time of all calls; on a GPU without waiting for their end.
        counts: sums of the box's own counts, `BlackBox.counts`.
    """

    calls: int = 0
    rows: int = 0
    seconds: float = 0.0
    counts: Mapping[str, int] = {}

    def plus(self, other: Use) -> Use:
        """Return the sum of both."""
        calls, rows, seconds = self.calls + other.calls, self.rows + other.rows, self.seconds + other.seconds
        if not self.counts and not other.counts:  # most boxes have none, and a call should cost little
            return Use(calls, rows, seconds)
        return Use(calls, rows, seconds, dict(Counter(self.counts) + Counter(other.counts)))


Uses = Mapping[Purpose, Use]


class Caller:
    """A module that calls something outside of torch. Runs report its calls, and close it at their end.

    A base class beside `torch.nn.Module`. It calls `count` after each call.

    Attributes:
        use: what the calls have cost, by purpose.
    """

    use: dict[Purpose, Use]

    def count(
        self, rows: int, began: float, counts: Mapping[str, int] = {}, of: Purpose | None = None
    ) -> None:
        """Count a call that began at ``began`` of ``time.perf_counter`` and ends now.

        Args:
            rows: rows of the call.
            began: when it began.
            counts: further counts of this call.
            of: its purpose; None for that of the pass.
        """
        of = of or purpose()
        self.use[of] = self.use.get(of, Use()).plus(Use(1, rows, time.perf_counter() - began, counts))

    def close(self) -> None:
        """End what is called; the next call starts it again."""


class UnderWay:
    """The calls of boxes that are under way: one in the main thread, and those that overlap with learning.

    Attributes:
        calls: when they have begun, by ``time.perf_counter``, by thread.
    """

    def __init__(self) -> None:
        self.calls: dict[int, float] = {}

    @property
    def since(self) -> float | None:
        """When the oldest of them has begun; None between calls."""
        return min(self.calls.copy().values(), default=None)


UNDER_WAY = UnderWay()


@contextmanager
def counted_as(purpose: Purpose) -> Iterator[None]:
    """Within the context, calls of boxes have this purpose."""
    token = PURPOSE.set(purpose)
    try:
        yield
    finally:
        PURPOSE.reset(token)


def purpose() -> Purpose:
    """Return the purpose of a call now."""
    if (known := PURPOSE.get()) is not None:
        return known
    here = current()
    return "learning" if here is not None and here.plan else "predicting"


def added(one: Uses, other: Uses) -> dict[Purpose, Use]:
    """Return the sums of both by purpose."""
    return {name: one.get(name, Use()).plus(other.get(name, Use())) for name in (*one, *other)}
