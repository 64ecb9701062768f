"""Sends activities from one rank of a pipeline to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from ffcore.ranks.group import lost_ranks

KINDS = ("learn", "read")

DEPTH = 2
"""Messages of a kind that may be in transit before the sender waits."""


class Kind(NamedTuple):
    """Shape and layout of one tensor of a message, for a full batch."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: bool


@dataclass
class _Post:
    tensors: list[Tensor]
    works: list[dist.Work]


class Link:
    """For each kind of message, a bounded queue from the previous rank and one to the next rank.

    All messages of a kind have the size of a full batch; a smaller batch is padded. A rank can thus start to
    receive the next message before it knows the size of that batch, while it computes on the current one.

    Args:
        rank: this rank.
        world: number of ranks.
        batch: samples of a full batch.
        device: device of the activities.
    """

    def __init__(self, rank: int, world: int, batch: int, device: torch.device | str) -> None:
        self.before = rank - 1 if rank > 0 else None
        self.after = rank + 1 if rank + 1 < world else None
        self.batch = batch
        self.device = torch.device(device)
        self._kinds_sent: dict[str, list[Kind]] = {}
        self._kinds_received: dict[str, list[Kind]] = {}
        self._sent: dict[str, deque[_Post]] = {}
        self._coming: dict[str, _Post] = {}

    def send(self, kind: str, tensors: Sequence[Tensor], samples: int) -> None:
        """Put a message into the queue. Waits while the queue is full.

        Args:
            kind: the purpose, one of `KINDS`; each kind has its own queue.
            tensors: rows of views, the same number for each sample.
            samples: samples of the batch.
        """
        assert self.after is not None
        if kind not in self._kinds_sent:  # the first message: send the shapes before it
            self._kinds_sent[kind] = [self._kind(t, samples) for t in tensors]
            with lost_ranks():
                dist.send_object_list([self._kinds_sent[kind]], self.after, device=self.device)
        kinds = self._kinds_sent[kind]
        full = [_packed(t, each) for t, each in zip(tensors, kinds, strict=True)]
        with lost_ranks():
            works = [dist.isend(t, self.after, tag=_tag(kind, i)) for i, t in enumerate(full)]
            queue = self._sent.setdefault(kind, deque())
            queue.append(_Post(full, [work for work in works if work is not None]))
            while len(queue) > DEPTH:
                for work in queue.popleft().works:
                    work.wait()

    def receive(self, kind: str, samples: int) -> list[Tensor]:
        """Returns the next message, of a batch of ``samples`` samples."""
        assert self.before is not None
        if kind not in self._kinds_received:
            received: list[list[Kind]] = [[]]
            with lost_ranks():
                dist.recv_object_list(received, self.before, device=self.device)
            self._kinds_received[kind] = received[0]
            self._expect(kind)
        post = self._coming[kind]
        with lost_ranks():
            for work in post.works:
                work.wait()
        self._expect(kind)  # receive the next message while this one is used
        kinds = self._kinds_received[kind]
        return [
            _unpacked(t, each)[: each.shape[0] * samples // self.batch]
            for t, each in zip(post.tensors, kinds, strict=True)
        ]

    def close(self) -> None:
        """Finish all transfers. Every queue gets a last message of zeros: its receive is already posted."""
        with lost_ranks():
            for kind, kinds in self._kinds_sent.items():
                assert self.after is not None
                zeros = [self._empty(each).zero_() for each in kinds]
                for i, t in enumerate(zeros):
                    dist.send(t, self.after, tag=_tag(kind, i))
                for post in self._sent[kind]:
                    for work in post.works:
                        work.wait()
            for post in self._coming.values():
                for work in post.works:
                    work.wait()
        self._kinds_sent, self._kinds_received, self._sent, self._coming = {}, {}, {}, {}

    def _kind(self, t: Tensor, samples: int) -> Kind:
        rows = len(t) // samples * self.batch
        # A channels_last tensor is sent in its own layout: without a copy, and the receiver gets the same
        # one.
        last = t.dim() == 4 and not t.is_contiguous() and t.is_contiguous(memory_format=torch.channels_last)
        return Kind((rows, *t.shape[1:]), t.dtype, last)

    def _expect(self, kind: str) -> None:
        assert self.before is not None
        tensors = [self._empty(each) for each in self._kinds_received[kind]]
        with lost_ranks():
            works = [dist.irecv(t, self.before, tag=_tag(kind, i)) for i, t in enumerate(tensors)]
        self._coming[kind] = _Post(tensors, [work for work in works if work is not None])

    def _empty(self, kind: Kind) -> Tensor:
        """Allocate one tensor of a message, in the memory layout of the transfer."""
        rows, *shape = kind.shape
        layout = [*shape[1:], shape[0]] if kind.channels_last else shape
        return torch.empty(rows, *layout, dtype=kind.dtype, device=self.device)


def _packed(t: Tensor, kind: Kind) -> Tensor:
    t = t.permute(0, 2, 3, 1) if kind.channels_last else t
    if len(t) == kind.shape[0]:
        return t.contiguous()
    full = t.new_zeros(kind.shape[0], *t.shape[1:])
    full[: len(t)] = t
    return full


def _unpacked(t: Tensor, kind: Kind) -> Tensor:
    return t.permute(0, 3, 1, 2) if kind.channels_last else t


def _tag(kind: str, index: int) -> int:
    return 1 + index * len(KINDS) + KINDS.index(kind)  # tag 0 is used by send_object_list
