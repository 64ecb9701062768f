"""Sends activities to the next rank of a pipeline through memory that both processes map.

For CPUs of one machine: a message is copied in and out of memory, and a local socket carries only its shapes.
Gloo would send it through the kernel, which takes about a tenth of a step of mnist/ff-2000x4's time.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from ffcore.ranks.group import Group, lost_ranks
from ffcore.ranks.memory import accepted, bound, created, hang_up, lost, machine, mapped

SLOTS = 3
"""Messages that may be in the memory before the sender waits."""

_ALIGN = 64  # bytes, so that every tensor begins at a multiple of its elements' size


class _Place(NamedTuple):
    """Where a tensor of a message is: its first byte, and what `_seen` needs to read it."""

    first: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: bool


class _End:
    """One end of a connection.

    Args:
        connection: the local socket.
        timeout: seconds to wait for the other rank.
    """

    def __init__(self, connection: Connection[Any, Any], timeout: float) -> None:
        self._connection, self._timeout = connection, timeout
        self._memory = torch.empty(0, dtype=torch.uint8)

    def abandon(self) -> None:
        """End the connection without waiting."""
        if not self._connection.closed:
            hang_up(socket.socket(fileno=os.dup(self._connection.fileno())))
            self._connection.close()

    def _arrived(self) -> Connection[Any, Any]:
        """Wait for the other rank; return the connection, from which something can be read."""
        if not self._connection.poll(self._timeout):
            raise TimeoutError
        return self._connection


class SharedOutgoing(_End):
    """The messages to the next rank; see `ffcore.ranks.link.Outgoing`."""

    _slot = _used = 0

    def send(self, kind: str, tensors: Sequence[Tensor], samples: int) -> None:
        """Send a message; wait while the memory is full."""
        lasts = [is_channels_last(t) for t in tensors]
        packed = [as_stored(t, last) for t, last in zip(tensors, lasts, strict=True)]
        size = sum(_rounded(t.numel() * t.element_size()) for t in packed)
        if size > len(self._memory) // SLOTS:
            self._grow(size)
        self._wait(SLOTS - 1)
        first, places = self._slot * (len(self._memory) // SLOTS), []
        for t, last in zip(packed, lasts, strict=True):
            places.append(_Place(first, tuple(t.shape), t.dtype, last))
            _seen(self._memory, places[-1]).copy_(t)
            first += _rounded(t.numel() * t.element_size())
        with lost():
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
            with lost():
                self._arrived().recv_bytes()
            self._used -= 1

    def _grow(self, size: int) -> None:
        """Make larger memory."""
        self._wait(0)
        whole = SLOTS * _rounded(size)
        number, self._memory = created(whole)
        try:
            with lost():
                self._connection.send(("memory", [whole]))
                send_handle(self._connection, number, None)
        finally:
            os.close(number)
        self._used, self._slot = 1, 0
        self._wait(0)


class SharedIncoming(_End):
    """The messages from the previous rank; see `ffcore.ranks.link.Incoming`."""

    def receive(self, kind: str, samples: int) -> list[Tensor]:
        """Return the next message; its size comes with it, so that ``samples`` is not used."""
        sent, places = self._next()
        if sent == "memory":
            with lost():
                number = recv_handle(self._connection)
            try:
                self._memory = mapped(number, places[0])
            finally:
                os.close(number)
            self._free()
            sent, places = self._next()
        if sent != kind:
            raise RuntimeError(f"a message {sent!r} where {kind!r} is expected")
        tensors = [_seen(self._memory, place).clone() for place in places]
        self._free()
        return [as_sent(t, place.channels_last) for t, place in zip(tensors, places, strict=True)]

    close = _End.abandon

    def _next(self) -> tuple[str, list[Any]]:
        with lost():
            message: tuple[str, list[Any]] = self._arrived().recv()
        return message

    def _free(self) -> None:
        with lost():
            self._connection.send_bytes(b"")


def connect_next(pair: Group, timeout: float) -> SharedOutgoing | None:
    """Connect to the next rank, which calls `connect_previous`; None if they cannot share memory."""
    with socket.socket(socket.AF_UNIX) as listener:
        address = bound(listener)
        key, seen = secrets.token_bytes(), [False]
        with lost_ranks():
            dist.send_object_list([(machine(), address, key)], group=pair.processes, group_dst=1)
            dist.recv_object_list(seen, group=pair.processes, group_src=1)
        if not seen[0]:
            return None
        with lost():
            connection = _connection(accepted(listener, timeout))
            deliver_challenge(connection, key)
            answer_challenge(connection, key)
    return SharedOutgoing(connection, timeout)


def connect_previous(pair: Group, timeout: float) -> SharedIncoming | None:
    """Connect to the previous rank, which calls `connect_next`; None if they cannot share memory."""
    given: list[Any] = [None]
    with lost_ranks():
        dist.recv_object_list(given, group=pair.processes, group_src=0)
    where, address, key = given[0]
    connected, local = False, socket.socket(socket.AF_UNIX)
    if where == machine() and address is not None:
        with suppress(OSError):  # of another container, for example
            local.connect(address)
            connected = True
    with lost_ranks():
        dist.send_object_list([connected], group=pair.processes, group_dst=0)
    if not connected:
        local.close()
        return None
    connection = _connection(local)
    with lost():
        answer_challenge(connection, key)
        deliver_challenge(connection, key)
    return SharedIncoming(connection, timeout)


def _connection(local: socket.socket) -> Connection[Any, Any]:
    local.setblocking(True)
    return Connection(local.detach())


def _seen(memory: Tensor, place: _Place) -> Tensor:
    """Return the bytes of a tensor as the tensor."""
    size = math.prod(place.shape) * place.dtype.itemsize
    return memory[place.first : place.first + size].view(place.dtype).view(place.shape)


def _rounded(size: int) -> int:
    return -(-max(size, 1) // _ALIGN) * _ALIGN


def is_channels_last(t: Tensor) -> bool:
    """Return whether an image is stored in channels-last: it is sent so, and the receiver gets the same."""
    return t.dim() == 4 and not t.is_contiguous() and t.is_contiguous(memory_format=torch.channels_last)


def as_stored(t: Tensor, channels_last: bool) -> Tensor:
    """Return an image (R, C, H, W) in channels-last as (R, H, W, C), in the order of its memory."""
    return t.permute(0, 2, 3, 1) if channels_last else t


def as_sent(t: Tensor, channels_last: bool) -> Tensor:
    """Undo `as_stored`."""
    return t.permute(0, 3, 1, 2) if channels_last else t
