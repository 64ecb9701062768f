"""What a process knows of the others that learn with it.

One rank a process. Parts of an algorithm that need the whole batch ask `ranks` for those that share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")


class Ranks:
    """A single rank, and what several do in its place. All ranks call the same methods in the same order.

    Attributes:
        rank: of this process, 0 … world − 1.
        world: number of ranks.
        idle: this rank has no share of the batch at hand, and goes through it with a stand-in that counts
            nothing, so that nobody ever sees a batch without samples.
    """

    rank: int = 0
    world: int = 1
    idle: bool = False

    def sum(self, t: Tensor) -> Tensor:
        """``t`` summed over ranks, in place."""
        return t

    def begin_sum(self, t: Tensor) -> Callable[[], Tensor]:
        """Begin to sum ``t`` over ranks, in place; what is returned waits until it is summed."""
        return lambda: t

    def rows(self, t: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """The rows of ``t`` (n, …) of all ranks in the order of the ranks, detached but for this rank's own.

        Ranks may have different numbers of rows; who knows those of all ranks spares them asking each other.
        """
        return t

    def objects(self, mine: T) -> list[T]:
        """What every rank has, in the order of the ranks; for plain values and small tensors."""
        return [mine]


class Idle(Ranks):
    """Ranks as one sees them that adds nothing to the batch at hand.

    Args:
        group: all of them.
    """

    idle = True

    def __init__(self, group: Ranks) -> None:
        self.group = group
        self.rank, self.world = group.rank, group.world

    def sum(self, t: Tensor) -> Tensor:
        """The sum of the others."""
        return self.group.sum(t.zero_())

    def begin_sum(self, t: Tensor) -> Callable[[], Tensor]:
        """The sum of the others."""
        return self.group.begin_sum(t.zero_())

    def rows(self, t: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """The rows of the others."""
        return self.group.rows(t[:0], counts)

    def objects(self, mine: T) -> list[T]:
        """What every rank has, this one too."""
        return self.group.objects(mine)


ALONE = Ranks()

_sharing: ContextVar[Ranks] = ContextVar("ffcore_ranks", default=ALONE)


def ranks() -> Ranks:
    """Those that share the batch at hand; a single one where nothing is shared."""
    return _sharing.get()


@contextmanager
def shared_by(group: Ranks) -> Iterator[None]:
    """In here batches are shares of those ranks."""
    token = _sharing.set(group)
    try:
        yield
    finally:
        _sharing.reset(token)
