"""Sends activities from one rank of a pipeline to the next.

All messages from a rank to the next form one sequence, since NCCL has no tags, and a receive is posted before
the message arrives. Both sides know the sequence of kinds so far, and expect after a kind the one that
followed it last time. The receiver posts a receive for the expected kind. If the next message is of another
kind, the sender first sends one of zeros, which the receiver drops.

Messages of learning passes have the size of a full batch, so that they can be received before the size of the
batch is known. Those of passes that only measure have the size that both sides know; none is expected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from ffcore.ranks.group import Group, lost_ranks
from ffcore.ranks.layout import Layout
from ffcore.ranks.memory import possible
from ffcore.ranks.shared import (
    SharedIncoming,
    SharedOutgoing,
    as_sent,
    as_stored,
    connect_next,
    connect_previous,
    is_channels_last,
)

UNEXPECTED = ("measure", "tap")
"""Kinds of messages whose size is not that of a full batch."""

DEPTH = 2
"""Messages that may be in transit before the sender waits."""


class Kind(NamedTuple):
    """Shape and layout of one tensor of a message, for a full batch."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: bool


@dataclass
class _Post:
    tensors: list[Tensor]
    works: list[dist.Work]

    def wait(self) -> None:
        with lost_ranks():
            for work in self.works:
                work.wait()


class Order:
    """The sequence of the kinds of messages, known to both sides.

    >>> order = Order()
    >>> for kind in ("learn", "read", "learn"):
    ...     order.note(kind)
    >>> order.expected
    'read'

    Attributes:
        expected: the kind of the next message, for which the receiver has posted a receive; None at first.
    """

    def __init__(self) -> None:
        self.expected: str | None = None
        self._last: str | None = None
        self._after: dict[str, str] = {}

    def note(self, kind: str) -> None:
        """Note the kind of a message."""
        if self._last is not None:
            self._after[self._last] = kind
        self._last = kind
        self.expected = self._after.get(kind, kind)
        if self.expected in UNEXPECTED:
            self.expected = None


class Outgoing:
    """The messages to the next rank, with a bounded number in transit.

    Args:
        pair: this rank and the next.
        batch: samples of a full batch. Smaller batches are padded, so that the receiver can post a receive
            before it knows their size.
        device: device of the messages.
    """

    def __init__(self, pair: Group, batch: int, device: torch.device) -> None:
        self.pair, self.batch, self.device = pair, batch, device
        self._kinds: dict[str, list[Kind]] = {}
        self._order = Order()
        self._posts: deque[_Post] = deque()

    def send(self, kind: str, tensors: Sequence[Tensor], samples: int) -> None:
        """Send a message; wait while too many are in transit.

        Args:
            kind: its purpose; all messages of a kind have the same tensors.
            tensors: rows of views, the same number for each sample.
            samples: samples of the batch; rows for a kind of `UNEXPECTED`.
        """
        if self._order.expected not in (None, kind):
            self._fill()
        if kind not in self._kinds:  # the first message: send the shapes before it
            full = samples if kind in UNEXPECTED else self.batch
            self._kinds[kind] = [_kind(t, samples, full) for t in tensors]
            with lost_ranks():
                dist.send_object_list(
                    [self._kinds[kind]], group=self.pair.processes, group_dst=1, device=self.device
                )
        kinds = _sized(self._kinds[kind], samples) if kind in UNEXPECTED else self._kinds[kind]
        self._post([_packed(t, each) for t, each in zip(tensors, kinds, strict=True)])
        self._order.note(kind)

    def close(self) -> None:
        """Send a last message of zeros, since its receive is posted already, and finish all transfers."""
        self._fill()
        while self._posts:
            self._posts.popleft().wait()

    def abandon(self) -> None:
        """Leave the transfers to the process group, which a failed run ends."""

    def _fill(self) -> None:
        if (kind := self._order.expected) is not None:
            self._post([_empty(each, self.device).zero_() for each in self._kinds[kind]])
            self._order.expected = None

    def _post(self, tensors: list[Tensor]) -> None:
        with lost_ranks():
            works = [dist.isend(t, group=self.pair.processes, group_dst=1) for t in tensors]
        self._posts.append(_Post(tensors, [work for work in works if work is not None]))
        while len(self._posts) > DEPTH:
            self._posts.popleft().wait()


class Incoming:
    """The messages from the previous rank. The next one is received while the present one is used.

    Args:
        pair: the previous rank and this one.
        batch: samples of a full batch.
        device: device of the messages.
    """

    def __init__(self, pair: Group, batch: int, device: torch.device) -> None:
        self.pair, self.batch, self.device = pair, batch, device
        self._kinds: dict[str, list[Kind]] = {}
        self._order = Order()
        self._coming: _Post | None = None

    def receive(self, kind: str, samples: int) -> list[Tensor]:
        """Return the next message, of a batch of ``samples`` samples; rows for a kind of `UNEXPECTED`."""
        if self._order.expected not in (None, kind):
            self.close()
        if kind not in self._kinds:
            received: list[list[Kind]] = [[]]
            with lost_ranks():
                dist.recv_object_list(received, group=self.pair.processes, group_src=0, device=self.device)
            self._kinds[kind] = received[0]
        kinds = _sized(self._kinds[kind], samples) if kind in UNEXPECTED else self._kinds[kind]
        post = self._coming or self._posted(kinds)
        post.wait()
        self._order.note(kind)
        expected = self._order.expected
        self._coming = None if expected is None else self._posted(self._kinds[expected])
        if kind in UNEXPECTED:
            return [as_sent(t, each.channels_last) for t, each in zip(post.tensors, kinds, strict=True)]
        return [
            as_sent(t, each.channels_last)[: each.shape[0] * samples // self.batch]
            for t, each in zip(post.tensors, kinds, strict=True)
        ]

    def close(self) -> None:
        """Receive the message of zeros that completes a posted receive."""
        if self._coming is not None:
            self._coming.wait()
        self._coming = self._order.expected = None

    def abandon(self) -> None:
        """Leave the posted receive to the process group, which a failed run ends."""

    def _posted(self, kinds: Sequence[Kind]) -> _Post:
        tensors = [_empty(each, self.device) for each in kinds]
        with lost_ranks():
            works = [dist.irecv(t, group=self.pair.processes, group_src=0) for t in tensors]
        return _Post(tensors, [work for work in works if work is not None])


Receiving = Incoming | SharedIncoming
Sending = Outgoing | SharedOutgoing


def connected(
    layout: Layout, batch: int, device: torch.device, timeout: float
) -> tuple[Receiving | None, Sending | None]:
    """Connect this rank to the previous and the next one of its line; all ranks call this.

    Args:
        layout: the groups of this rank.
        batch: samples of a full batch.
        device: device of the messages.
        timeout: seconds to wait for another rank.
    """
    before: Receiving | None = None
    after: Sending | None = None
    if layout.before is not None:
        before = connect_previous(layout.before, timeout) if possible(device) else None
        before = before or Incoming(layout.before, batch, device)
    if layout.after is not None:
        after = connect_next(layout.after, timeout) if possible(device) else None
        after = after or Outgoing(layout.after, batch, device)
    return before, after


def _kind(t: Tensor, samples: int, batch: int) -> Kind:
    rows = len(t) // samples * batch
    return Kind((rows, *t.shape[1:]), t.dtype, is_channels_last(t))


def _sized(kinds: Sequence[Kind], rows: int) -> list[Kind]:
    return [each._replace(shape=(rows, *each.shape[1:])) for each in kinds]


def _empty(kind: Kind, device: torch.device) -> Tensor:
    """Allocate one tensor of a message, in the memory layout of the transfer."""
    rows, *shape = kind.shape
    layout = [*shape[1:], shape[0]] if kind.channels_last else shape
    return torch.empty(rows, *layout, dtype=kind.dtype, device=device)


def _packed(t: Tensor, kind: Kind) -> Tensor:
    t = as_stored(t, kind.channels_last)
    if len(t) == kind.shape[0]:
        return t.contiguous()
    full = t.new_zeros(kind.shape[0], *t.shape[1:])
    full[: len(t)] = t
    return full
