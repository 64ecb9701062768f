"""Sums of gradients over the ranks of a machine, through shared memory."""

import pytest
import torch

from ffcore.ranks.sums import PENDING


def expected(exchange, ranks):
    """Returns the flat sums of all messages, added in the order of the ranks."""
    flat = [[torch.cat([t.reshape(-1) for t in parts]) for parts in exchange.values(r)] for r in range(ranks)]
    return [sum(of_message[1:], start=of_message[0]) for of_message in zip(*flat, strict=True)]


@pytest.mark.parametrize("shared", [True, False], ids=["shared memory", "torch.distributed"])
def test_all_ranks_have_the_same_sums_in_the_order_of_the_ranks(pool, exchange, shared):
    right = expected(exchange, 2)
    for made, segments in pool("summed", 1, shared):
        assert (segments is not None) == shared
        for sum_, other in zip(made, right, strict=True):
            assert sum_.dtype == other.dtype
            assert torch.equal(sum_, other)


@pytest.mark.thorough
def test_four_ranks_add_in_the_same_order(four, exchange):
    right = expected(exchange, 4)
    for made, _ in four("summed", 3):
        assert all(torch.equal(sum_, other) for sum_, other in zip(made, right, strict=True))


def test_memory_is_used_again_when_all_ranks_have_read_it(pool, exchange):
    messages = len(exchange.values(0))
    for _, segments in pool("summed", 50):
        assert segments <= 2 * messages


def test_a_rank_may_begin_any_number_of_sums_before_it_waits(pool):
    assert pool("many") == [[[2.0 * i] * 2 for i in range(PENDING + 10)]] * 2


def test_a_rank_that_has_failed_is_an_error_of_the_one_that_waits(pool):
    assert pool("disconnected")[0] == "another rank has ended; this one cannot continue"
