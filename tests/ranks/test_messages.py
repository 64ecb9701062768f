"""Messages between ranks of a pipeline, through torch.distributed and through shared memory."""

import pytest
import torch

from ffcore.errors import LostError
from ffcore.ranks.link import Order
from ffcore.ranks.shared import SLOTS


@pytest.mark.parametrize("in_memory", [False, True], ids=["torch.distributed", "shared memory"])
def test_messages_of_several_kinds_and_sizes_arrive_in_order(pool, exchange, in_memory):
    _, received = pool("exchanged", in_memory)
    for (_, tensors, _), arrived in zip(exchange.messages(), received, strict=True):
        for sent, got in zip(tensors, arrived, strict=True):
            assert torch.equal(got, sent)
            assert got.dtype == sent.dtype
            assert got.stride() == sent.stride()


def test_the_kind_that_followed_last_time_is_expected():
    order = Order()
    expected = []
    for kind in ("learn", "read", "learn", "read", "measure", "learn"):
        order.note(kind)
        expected.append(order.expected)
    assert expected == ["learn", "read", "read", "learn", None, "read"]


def test_a_rank_that_ends_is_an_error_of_the_other(pool):
    alone, _ = pool("abandoned")
    assert alone == (LostError, "another rank has ended; this one cannot continue")


def test_ranks_that_cannot_reach_each_other_locally_share_no_memory(pool):
    assert pool("separated") == [False, False]


def test_a_sender_waits_for_a_free_slot(pool):
    sent, _ = pool("blocked")
    assert sent == SLOTS
