"""Functions by which the ranks of the pool exchange messages."""

import os
from contextlib import nullcontext
from unittest import mock

import torch

from ffcore.errors import LostError
from ffcore.ranks.group import Group
from ffcore.ranks.link import Incoming, Outgoing
from ffcore.ranks.shared import connect_next, connect_previous
from ffcore.ranks.sums import PENDING


def messages():
    """Returns messages as (kind, tensors, samples), of batches of at most 4 samples."""
    torch.manual_seed(0)
    image = torch.randn(8, 3, 5, 2).to(memory_format=torch.channels_last)
    learned = [("learn", [torch.randn(2 * n, 3), torch.randn(2 * n)], n) for n in (4, 4, 2)]
    read = ("read", [image[:4].clone(memory_format=torch.preserve_format)], 4)
    measured = [("measure", [torch.randn(rows, 7, dtype=torch.float64)], rows) for rows in (3, 9)]
    return [*learned, read, learned[0], read, *measured, learned[1], ("large", [torch.randn(4, 50_000)], 4)]


def exchanged(in_memory):
    """Send `messages` from rank 0 to rank 1; returns those that have arrived."""
    pair = Group()
    if pair.rank == 0:
        sender = connect_next(pair, 60) if in_memory else Outgoing(pair, 4, torch.device("cpu"))
        for message in messages():
            sender.send(*message)
        sender.close()
        return []
    receiver = connect_previous(pair, 60) if in_memory else Incoming(pair, 4, torch.device("cpu"))
    arrived = [receiver.receive(kind, samples) for kind, _, samples in messages()]
    receiver.close()
    return arrived


def abandoned():
    """Close the receiver; returns the sender's error."""
    pair = Group()
    if pair.rank == 1:
        receiver = connect_previous(pair, 60)
        receiver.receive("learn", 1)
        receiver.close()
        return None
    sender = connect_next(pair, 60)
    try:
        for _ in range(20):
            sender.send("learn", [torch.ones(1, 3)], 1)
    except LostError as error:
        return type(error), str(error)
    return None


def separated():
    """Connect as if the ranks were in two containers of one machine; returns whether they share memory."""
    pair = Group()
    if pair.rank == 0:
        return connect_next(pair, 60) is not None
    with mock.patch("socket.socket.connect", side_effect=ConnectionRefusedError):
        return connect_previous(pair, 60) is not None


def values(rank):
    """Returns what a rank sums: tensors of several shapes, memory formats and types, by message."""
    generator = torch.Generator().manual_seed(rank)
    image = torch.randn(2, 3, 5, 2, generator=generator).to(memory_format=torch.channels_last)
    made = [[torch.randn(n, 3, generator=generator), torch.randn(n, generator=generator)] for n in (4, 70, 1)]
    return [
        *made,
        [image],
        [made[0][0].double()],
        [made[1][1].bfloat16(), made[2][1]],
        [made[0][0].int()],
        [torch.zeros(0)],
    ]


def summed(rounds, shared=True):
    """Begin sums, and wait for them last first; returns the sums of the last round, and the segments."""
    group, results = Group(), []
    refused = mock.patch("socket.socket.connect", side_effect=ConnectionRefusedError)
    with nullcontext() if shared else refused:
        group.connect(60)
    for _ in range(rounds):
        waits = [group.begin_sum(*parts) for parts in values(group.rank)]
        results = [wait() for wait in reversed(waits)][::-1]
    segments = group._shared and len(group._shared._segments)
    group.objects(None)  # all have their sums
    group.disconnect()
    return results, segments


def many():
    """Begin more sums than may be pending; returns them."""
    group = Group()
    group.connect(60)
    waits = [group.begin_sum(torch.full((2,), float(i))) for i in range(PENDING + 10)]
    made = [wait().tolist() for wait in waits]
    group.objects(None)
    group.disconnect()
    return made


def disconnected():
    """Wait for a sum that the other rank does not begin; returns the error."""
    group = Group()
    group.connect(60)
    if group.rank == 1:
        # as processes that were forked have them: workers of a loader
        copies = [os.dup(peer.connection.fileno()) for peer in group._shared.peers if peer is not None]
        group.disconnect()
        group.objects(None)
        for each in copies:
            os.close(each)
        return None
    try:
        group.begin_sum(torch.ones(1))()
    except LostError as error:
        return str(error)
    finally:
        group.objects(None)
        group.disconnect()


def blocked():
    """Send while the other rank receives nothing; returns how many messages were sent within its timeout."""
    pair = Group()
    if pair.rank == 1:
        receiver = connect_previous(pair, 60)
        receiver.receive("learn", 1)
        pair.objects(None)
        return None
    sender, sent = connect_next(pair, 0.5), 0
    sender.send("learn", [torch.ones(1, 3)], 1)
    try:
        while sent < 20:
            sender.send("learn", [torch.ones(1, 3)], 1)
            sent += 1
    except LostError:
        pass
    pair.objects(None)
    return sent
