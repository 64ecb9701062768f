"""Collective operations between ranks, with torch.distributed: all of a run, or a part of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from traceback import clear_frames
from typing import Any, NamedTuple, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from ffcore.errors import LostError, RunError, one_line
from ffcore.interfaces import Ranks
from ffcore.interfaces.turns import DIMS, DTYPES
from ffcore.ranks import sums

T = TypeVar("T")


@contextmanager
def lost_ranks() -> Iterator[None]:
    """Convert a backend's error in a collective operation to an error that names the cause.

    Raises:
        LostError: another rank has ended, or has not answered within the timeout.
    """
    try:
        yield
    except (LostError, torch.OutOfMemoryError):  # OutOfMemoryError is a RuntimeError too
        raise
    except RuntimeError as error:
        # gloo and NCCL raise the same type for both causes; only their messages differ
        message = one_line(error)
        clear_frames(error.__traceback__)  # torch's refer to the group, which `Group.close` could not close
        late = "imed out" in message or "imeout" in message
        cause = "does not answer" if late else "has ended"
        raise LostError(f"another rank {cause}; this one cannot continue ({message[:120]})") from error


class Group(Ranks):
    """The ranks of a process group.

    Args:
        processes: the process group, which has this process; None: all ranks.
    """

    def __init__(self, processes: dist.ProcessGroup | None = None) -> None:
        self.processes = processes
        self.closed = False
        self._shared: sums.SharedSums | None = None
        self.rank, self.world = dist.get_rank(processes), dist.get_world_size(processes)

    def sum(self, t: Tensor) -> Tensor:
        """See `ffcore.interfaces.Ranks.sum`."""
        with lost_ranks():
            dist.all_reduce(t, group=self.processes)
        return t

    def begin_sum(self, *parts: Tensor) -> Callable[[], Tensor]:
        """See `ffcore.interfaces.Ranks.begin_sum`."""
        if self._shared is not None and parts[0].device.type == "cpu":
            return self._shared.begin(parts)
        t = torch.cat([part.detach().reshape(-1) for part in parts])
        with lost_ranks():
            work = dist.all_reduce(t, group=self.processes, async_op=True)

        def wait() -> Tensor:
            with lost_ranks():
                work.wait()
            return t

        return wait

    def rows(self, t: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """See `ffcore.interfaces.Ranks.rows`."""
        counts = self._counts(t) if counts is None else counts
        # all_gather needs tensors of one shape: pad to the largest rank
        padded = t.new_zeros(max(counts), *t.shape[1:])
        padded[: len(t)] = t.detach()
        parts = [torch.empty_like(padded) for _ in range(self.world)]
        with lost_ranks():
            dist.all_gather(parts, padded, group=self.processes)
        rows = [part[:count] for part, count in zip(parts, counts, strict=True)]
        rows[self.rank] = t  # the own rows with their graph, which all_gather drops
        return torch.cat(rows)

    def _counts(self, t: Tensor) -> list[int]:
        own = torch.tensor([len(t)], device=t.device)
        counts = [torch.empty_like(own) for _ in range(self.world)]
        with lost_ranks():
            dist.all_gather(counts, own, group=self.processes)
        return [int(count) for count in counts]

    def objects(self, mine: T) -> list[T]:
        """See `ffcore.interfaces.Ranks.objects`."""
        gathered: list[T | None] = [None] * self.world
        with lost_ranks():
            dist.all_gather_object(gathered, _on_cpu(mine), group=self.processes)
        return cast("list[T]", gathered)

    def collected(self, mine: T) -> list[T]:
        """See `ffcore.interfaces.Ranks.collected`. Tensors are sent one after the other."""
        parts: list[Tensor] = []

        def apart(t: Tensor) -> _Elsewhere:
            parts.append(t)
            return _Elsewhere(tuple(t.shape), t.dtype)

        bare = _replaced(mine, apart)
        gathered: list[T | None] | None = [None] * self.world if self.rank == 0 else None
        with lost_ranks():
            dist.gather_object(bare, gathered, group=self.processes, group_dst=0)
        if gathered is None:
            for t in parts:
                self._send(t)
            return []
        mine = _on_cpu(mine)
        return [mine, *(self._filled(each, source) for source, each in enumerate(gathered[1:], 1))]

    def _filled(self, bare: Any, source: int) -> Any:
        return _replaced(bare, lambda e: self._received(e.shape, e.dtype, source), _Elsewhere)

    def moved(self, t: Tensor, source: int) -> Tensor:
        """Send the values of a tensor from rank ``source`` to rank 0, which returns them on the CPU.

        All ranks call this; the others return ``t``, which has at least the right shape everywhere.
        """
        if self.rank == source:
            self._send(t)
        return self._received(tuple(t.shape), t.dtype, source) if self.rank == 0 else t

    def _send(self, t: Tensor) -> None:
        with lost_ranks():
            dist.send(t.detach().to(self.device).contiguous(), group=self.processes, group_dst=0)

    def _received(self, shape: tuple[int, ...], dtype: torch.dtype, source: int) -> Tensor:
        received = torch.empty(shape, dtype=dtype, device=self.device)
        with lost_ranks():
            dist.recv(received, group=self.processes, group_src=source)
        return received.cpu()

    @property
    def device(self) -> torch.device:
        """The type of device whose tensors the backend sends."""
        return torch.device("cuda" if dist.get_backend(self.processes) == "nccl" else "cpu")

    def share(self, tensors: Iterable[Tensor], source: int = 0) -> None:
        """Broadcast the values of these tensors, in place, from rank ``source`` of the group."""
        with lost_ranks(), torch.no_grad():
            for t in tensors:
                sent = t.detach().to(self.device)
                dist.broadcast(sent, group=self.processes, group_src=source)
                if sent.device != t.device:  # one of the CPU, by a backend that sends those of GPUs
                    t.copy_(sent)

    def __deepcopy__(self, memo: dict[int, Any]) -> Group:
        """Return the same group: a copy of an optimiser has the same ranks."""
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        """See `object.__reduce__`.

        Raises:
            RunError: it is a part of the ranks, which another program does not have.
        """
        if self.processes is not None:
            raise RunError("what learns on a grid cannot be pickled; use copy.deepcopy or state_dict")
        return Group, ()

    def connect(self, timeout: float) -> None:
        """Let `begin_sum` use shared memory from now on, if the ranks can. All ranks call this together.

        Args:
            timeout: seconds to wait for another rank.
        """
        self.disconnect()
        self._shared = sums.connect(self, timeout)

    def disconnect(self) -> None:
        """End what `connect` began: a rank that waits for a sum raises a `LostError`."""
        if self._shared is not None:
            self._shared.close()
        self._shared = None

    def close(self) -> None:
        """End a group that was made for one purpose: operations of its other ranks raise a `LostError`.

        Waits for no rank.
        """
        processes, self.processes = self.processes, None
        if processes is None:
            return
        self.closed = True
        if dist.get_backend(processes) == "nccl":
            processes.abort()  # an operation that waits for a rank that is gone would block what follows
        dist.destroy_process_group(processes)

    def spread(
        self, tensors: Sequence[Tensor], count: int, source: int, device: torch.device
    ) -> list[Tensor]:
        """Broadcast tensors whose shapes only rank ``source`` of the group knows; return them.

        Args:
            tensors: the tensors, on that rank; any on the others.
            count: their number, at most 6 dimensions each.
            source: the rank that has them.
            device: the device of this rank.
        """
        if self.closed:  # without processes it would be all ranks
            raise LostError("another rank has ended, or the training; this one cannot continue")
        own = [t.detach().to(device).contiguous() for t in tensors] if self.rank == source else []
        head = torch.zeros(count, DIMS + 2, dtype=torch.int64)
        for row, t in zip(head, own, strict=bool(own)):
            row[: t.dim() + 2] = torch.tensor([DTYPES.index(t.dtype), t.dim(), *t.shape])
        head = head.to(device)
        self.share([head], source)
        kinds = [(DTYPES[code], shape[:dims]) for code, dims, *shape in head.tolist()]
        made = own or [torch.empty(shape, dtype=dtype, device=device) for dtype, shape in kinds]
        self.share([t.view(-1).view(torch.uint8) for t in made if t.numel()], source)
        return made


class _Elsewhere(NamedTuple):
    """A tensor that is sent after the object that has it."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def _on_cpu(value: Any) -> Any:
    """Move tensors in a nested value to the CPU: the receiving process may not have this one's GPU."""
    return _replaced(value, Tensor.cpu)


def _replaced(value: Any, by: Callable[[Any], Any], kind: type = Tensor) -> Any:
    """Replace all tensors in nested dicts, lists and tuples, or all values of another kind."""
    if isinstance(value, kind):
        return by(value)
    if isinstance(value, dict):
        return {key: _replaced(inside, by, kind) for key, inside in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replaced(inside, by, kind) for inside in value)
    return value
