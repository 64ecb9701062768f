"""Sends activities to the next rank of a pipeline through memory that both processes map.

For CPUs of one machine: a message is copied in and out of memory, and a local socket carries only its shapes.
Gloo would send it through the kernel, which takes about a tenth of a step of mnist/ff-2000x4's time.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from ffcore.errors import LostError
from ffcore.ranks.group import Group, lost_ranks

SLOTS = 3
"""Messages that may be in the memory before the sender waits."""

_IN_MEMORY = "/dev/shm"  # noqa: S108 - names come from mkstemp

_ALIGN = 64  # bytes, so that every tensor begins at a multiple of its elements' size


class _Place(NamedTuple):
    """Where a tensor of a message is: its first byte, and what `_seen` needs to read it."""

    first: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: bool


class SharedOutgoing:
    """The messages to the next rank; see `ffcore.ranks.link.Outgoing`.

    Args:
        connection: the local socket.
        timeout: seconds to wait for the other rank.
    """

    def __init__(self, connection: Connection[Any, Any], timeout: float) -> None:
        self._connection, self._timeout = connection, timeout
        self._memory = torch.empty(0, dtype=torch.uint8)
        self._slot = self._used = 0

    def send(self, kind: str, tensors: Sequence[Tensor], samples: int) -> None:
        """Send a message; wait while the memory is full."""
        lasts = [_is_channels_last(t) for t in tensors]
        packed = [t.permute(0, 2, 3, 1) if last else t for t, last in zip(tensors, lasts, strict=True)]
        size = sum(_rounded(t.numel() * t.element_size()) for t in packed)
        if size > len(self._memory) // SLOTS:
            self._grow(size)
        self._wait(SLOTS - 1)
        first, places = self._slot * (len(self._memory) // SLOTS), []
        for t, last in zip(packed, lasts, strict=True):
            places.append(_Place(first, tuple(t.shape), t.dtype, last))
            _seen(self._memory, places[-1]).copy_(t)
            first += _rounded(t.numel() * t.element_size())
        with _lost():
            self._connection.send((kind, places))
        self._slot = (self._slot + 1) % SLOTS
        self._used += 1

    def close(self) -> None:
        """Wait until all messages have been received."""
        self._wait(0)
        self._connection.close()

    def _wait(self, most: int) -> None:
        """Wait until at most so many slots are used."""
        while self._used > most:
            with _lost():
                if not self._connection.poll(self._timeout):
                    raise TimeoutError
                self._connection.recv_bytes()
            self._used -= 1

    def _grow(self, size: int) -> None:
        self._wait(0)
        path, self._memory = _mapped(SLOTS * _rounded(size))
        try:
            with _lost():
                self._connection.send(("memory", [path, len(self._memory)]))
            self._used, self._slot = 1, 0
            self._wait(0)
        finally:
            path.unlink()


class SharedIncoming:
    """The messages from the previous rank; see `ffcore.ranks.link.Incoming`.

    Args:
        connection: the local socket.
        timeout: seconds to wait for the other rank.
    """

    def __init__(self, connection: Connection[Any, Any], timeout: float) -> None:
        self._connection, self._timeout = connection, timeout
        self._memory = torch.empty(0, dtype=torch.uint8)

    def receive(self, kind: str, samples: int) -> list[Tensor]:
        """Return the next message."""
        sent, places = self._next()
        if sent == "memory":
            path, size = places
            self._memory = torch.from_file(str(path), shared=True, size=size, dtype=torch.uint8)
            self._free()
            sent, places = self._next()
        assert sent == kind, f"a message {sent!r} where {kind!r} is expected"
        tensors = [_seen(self._memory, place).clone() for place in places]
        self._free()
        return [
            t.permute(0, 3, 1, 2) if place.channels_last else t
            for t, place in zip(tensors, places, strict=True)
        ]

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _next(self) -> tuple[str, list[Any]]:
        with _lost():
            if not self._connection.poll(self._timeout):
                raise TimeoutError
            message: tuple[str, list[Any]] = self._connection.recv()
        return message

    def _free(self) -> None:
        with _lost():
            self._connection.send_bytes(b"")


def connect_next(pair: Group, timeout: float) -> SharedOutgoing | None:
    """Connect to the next rank, which calls `connect_previous`; None if it is on another machine."""
    key, seen = secrets.token_bytes(), [False]
    with Listener(None, "AF_UNIX", authkey=key) as listener:
        with lost_ranks():
            dist.send_object_list([(listener.address, key)], group=pair.processes, group_dst=1)
            dist.recv_object_list(seen, group=pair.processes, group_src=1)
        return SharedOutgoing(listener.accept(), timeout) if seen[0] else None


def connect_previous(pair: Group, timeout: float) -> SharedIncoming | None:
    """Connect to the previous rank, which calls `connect_next`; None if it is on another machine."""
    given: list[Any] = [None]
    with lost_ranks():
        dist.recv_object_list(given, group=pair.processes, group_src=0)
        address, key = given[0]
        here = os.path.exists(address)
        dist.send_object_list([here], group=pair.processes, group_dst=0)
    return SharedIncoming(Client(address, "AF_UNIX", authkey=key), timeout) if here else None


def possible(device: torch.device) -> bool:
    """Return whether ranks on such devices may share memory, if they are on one machine."""
    return device.type == "cpu" and hasattr(socket, "AF_UNIX")


def _mapped(size: int) -> tuple[Path, Tensor]:
    """Return a new file in memory, or where there is no room on a disk, and its bytes."""
    for folder in (_IN_MEMORY, tempfile.gettempdir()):
        if not os.path.isdir(folder):
            continue
        number, name = tempfile.mkstemp(prefix="ffcore-", dir=folder)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(number, 0, size)  # otherwise a full /dev/shm kills the process later
            else:
                os.truncate(number, size)
            return Path(name), torch.from_file(name, shared=True, size=size, dtype=torch.uint8)
        except OSError:
            os.unlink(name)
            if folder == tempfile.gettempdir():
                raise
        finally:
            os.close(number)
    raise FileNotFoundError(tempfile.gettempdir())


def _seen(memory: Tensor, place: _Place) -> Tensor:
    """Return the bytes of a tensor as the tensor."""
    size = math.prod(place.shape) * place.dtype.itemsize
    return memory[place.first : place.first + size].view(place.dtype).view(place.shape)


def _rounded(size: int) -> int:
    return -(-max(size, 1) // _ALIGN) * _ALIGN


def _is_channels_last(t: Tensor) -> bool:
    return t.dim() == 4 and not t.is_contiguous() and t.is_contiguous(memory_format=torch.channels_last)


@contextmanager
def _lost() -> Iterator[None]:
    """Convert the error of a closed connection to one that names the cause."""
    try:
        yield
    except TimeoutError as error:
        raise LostError("another rank does not answer; this one cannot continue") from error
    except (EOFError, OSError) as error:
        raise LostError("another rank has ended; this one cannot continue") from error
