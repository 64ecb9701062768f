"""The ranks of a run, by torch.distributed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from ffcore.errors import LostError, one_line
from ffcore.interfaces import Ranks

T = TypeVar("T")


@contextmanager
def told() -> Iterator[None]:
    """Say in plain words that a rank has ended, or that one does not answer.

    Raises:
        LostError: in place of what a backend says.
    """
    try:
        yield
    except (LostError, torch.OutOfMemoryError):
        raise
    except RuntimeError as error:
        said = one_line(error)
        late = "imed out" in said or "imeout" in said
        what = "does not answer" if late else "has ended"
        raise LostError(f"another rank {what}; this one cannot go on ({said[:120]})") from error


class Group(Ranks):
    """All ranks of the process group that is up."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def sum(self, t: Tensor) -> Tensor:
        """See `ffcore.interfaces.Ranks.sum`."""
        with told():
            dist.all_reduce(t)
        return t

    def begin_sum(self, t: Tensor) -> Callable[[], Tensor]:
        """See `ffcore.interfaces.Ranks.begin_sum`."""
        with told():
            work = dist.all_reduce(t, async_op=True)

        def wait() -> Tensor:
            with told():
                work.wait()
            return t

        return wait

    def rows(self, t: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """See `ffcore.interfaces.Ranks.rows`."""
        counts = self._counts(t) if counts is None else counts
        padded = t.new_zeros(max(counts), *t.shape[1:])
        padded[: len(t)] = t.detach()
        parts = [torch.empty_like(padded) for _ in range(self.world)]
        with told():
            dist.all_gather(parts, padded)
        every = [part[:count] for part, count in zip(parts, counts, strict=True)]
        every[self.rank] = t  # with its graph
        return torch.cat(every)

    def _counts(self, t: Tensor) -> list[int]:
        mine = torch.tensor([len(t)], device=t.device)
        every = [torch.empty_like(mine) for _ in range(self.world)]
        with told():
            dist.all_gather(every, mine)
        return [int(count) for count in every]

    def objects(self, mine: T) -> list[T]:
        """See `ffcore.interfaces.Ranks.objects`."""
        every: list[T | None] = [None] * self.world
        with told():
            dist.all_gather_object(every, _on_cpu(mine))
        return cast("list[T]", every)

    def share(self, tensors: list[Tensor], source: int = 0) -> None:
        """Give all ranks one rank's values of these tensors."""
        with told(), torch.no_grad():
            for t in tensors:
                dist.broadcast(t, source)


def _on_cpu(value: Any) -> Any:
    """Plain values and tensors as another process can receive them: it need not see this one's GPU."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(inside) for key, inside in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_on_cpu(inside) for inside in value)
    return value
