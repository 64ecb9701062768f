"""Functions by which the ranks of the pool exchange messages."""

from unittest import mock

import torch

from ffcore.errors import LostError
from ffcore.ranks.group import Group
from ffcore.ranks.link import Incoming, Outgoing
from ffcore.ranks.shared import connect_next, connect_previous


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
