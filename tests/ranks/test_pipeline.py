"""Blocks on two ranks learn what they learn in one process, to the bit."""

import pytest
import torch

CUT = {
    "dense": ("digits/ff", ["network.0.units=40"], {}),
    "readouts": ("digits/ff-unsupervised", ["network.0.units=40"], {"cut": ["dense2"]}),
    "convolutions": ("digits/channel", [], {}),
    "a residual": (
        "digits/channel",
        [
            "network=[{kind: conv, channels: 20}, {kind: residual, items: [{kind: conv, channels: 20}]}, "
            "{kind: conv, channels: 20, stride: 2}]",
        ],
        {},
    ),
    "a black box": ("digits/blackbox-sign", [], {}),
    "measured": ("digits/ff", ["network.0.units=40"], {"balance": "measured"}),
    "uneven, accumulated, clipped": (
        "digits/ff",
        ["network.0.units=40", "data.batch_size=31", "trainer.accumulate=3", "trainer.clip=0.5"],
        {"cut": ["dense3"]},
    ),
}


@pytest.mark.parametrize(("recipe", "overrides", "pipeline"), CUT.values(), ids=CUT)
def test_blocks_on_two_ranks_learn_what_one_process_learns_to_the_bit(
    pool, work, recipe, overrides, pipeline
):
    one = work.learned(recipe, overrides, steps=60)
    for rank in pool("learned", recipe, overrides, steps=60, pipeline=pipeline):
        assert rank.keys() == one.keys()
        for name, value in one.items():
            assert torch.equal(rank[name], value), name
