"""Communication between the ranks of a run. A rank is one process.

Parts of an algorithm that need the global batch get it from the ranks that share it; see `ranks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Ranks:
    """A single rank, and the interface of several. All ranks call the same methods in the same order.

    Attributes:
        rank: rank of this process, 0 … world − 1.
        world: number of ranks.
        idle: whether this rank has no share of the current batch. It then runs a placeholder batch, which
            does not count, since components cannot handle a batch without samples.
        batch_norm: whether batch norm has the statistics of the global batch, not of each rank's rows.
    """

    rank: int = 0
    world: int = 1
    idle: bool = False
    batch_norm: bool = True

    def sum(self, t: Tensor) -> Tensor:
        """Sum ``t`` over ranks, in place, and return it."""
        return t

    def begin_sum(self, *parts: Tensor) -> Callable[[], Tensor]:
        """Begin to sum tensors over ranks; return a function that waits for the result.

        That is one flat tensor, with the elements of the first tensor, then of the second, and so on. The
        tensors themselves do not change.
        """
        return lambda: torch.cat([t.reshape(-1) for t in parts])

    def rows(self, t: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """Gather the rows of ``t`` (n, …) from all ranks, in the order of the ranks.

        Only this rank's own rows keep their graph. Ranks may have different numbers of rows. Pass ``counts``,
        the number of each rank, if they are known; this saves an exchange.
        """
        return t

    def objects(self, mine: T) -> list[T]:
        """Gather an object from every rank, in the order of the ranks; for plain values and small tensors."""
        return [mine]

    def collected(self, mine: T) -> list[T]:
        """Gather an object with tensors on rank 0, in the order of the ranks; others get an empty list."""
        return [mine]


class Idle(Ranks):
    """The ranks, seen from an idle rank: it takes part in all exchanges but contributes nothing.

    Args:
        group: all ranks.
    """

    idle = True

    def __init__(self, group: Ranks) -> None:
        self.group = group
        self.rank, self.world, self.batch_norm = group.rank, group.world, group.batch_norm

    def sum(self, t: Tensor) -> Tensor:
        """Return the sum over the other ranks."""
        return self.group.sum(t.zero_())

    def begin_sum(self, *parts: Tensor) -> Callable[[], Tensor]:
        """Begin the sum over the other ranks."""
        return self.group.begin_sum(*(t.zero_() for t in parts))

    def rows(self, t: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """Return the rows of the other ranks."""
        return self.group.rows(t[:0], counts)

    def objects(self, mine: T) -> list[T]:
        """Gather an object from every rank, including this one."""
        return self.group.objects(mine)


ALONE = Ranks()

_sharing: ContextVar[Ranks] = ContextVar("ffcore_ranks", default=ALONE)


def ranks() -> Ranks:
    """Return the ranks that share the current batch; `ALONE` if it is not shared."""
    return _sharing.get()


@contextmanager
def shared_by(group: Ranks) -> Iterator[None]:
    """Within the context, each batch is shared by the ranks of ``group``."""
    # A context variable, so that threads may have different ranks.
    token = _sharing.set(group)
    try:
        yield
    finally:
        _sharing.reset(token)
