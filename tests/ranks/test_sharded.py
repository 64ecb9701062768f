"""Blocks in plain torch whose weights `fully_shard` divides over two ranks."""

import pytest
import torch

CASES = {
    "sgd, clipped": {"clip": 0.5},
    "adam": {"optimizer": "Adam", "lr": 0.01},
    "a layer with closed-form gradients": {"optimizer": "AdamW", "lr": 0.01, "closed": True},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_two_ranks_with_half_of_the_weights_make_the_steps_of_one_process(pool, work, options):
    one = work.sharded(**options)
    ranks = pool("sharded", **options)
    assert sum(result["held"] for result in ranks) == one["held"]
    assert max(result["held"] for result in ranks) < 0.6 * one["held"]
    for result in ranks:
        assert result["weights"].keys() == one["weights"].keys()
        for name, value in one["weights"].items():
            torch.testing.assert_close(result["weights"][name], value, rtol=0, atol=1e-12)
    scores = torch.cat([result["scores"] for result in ranks])
    torch.testing.assert_close(scores, one["scores"], rtol=0, atol=1e-12)
    for name, loss in one["losses"].items():
        mean = sum(result["losses"][name] for result in ranks) / len(ranks)
        torch.testing.assert_close(mean, loss, rtol=0, atol=1e-12)


def test_a_block_that_is_divided_as_a_whole_raises(pool):
    for messages in pool("shards_a_whole_block"):
        assert len(messages) == 2
        assert all("fully_shard has divided the whole block" in message for message in messages)
