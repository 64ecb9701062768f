"""Blocks on two ranks learn exactly what they learn in one process."""

import pytest
import torch

from tests.chosen import thorough_but

LARGE = "data.batch_size=62"  # of 1,293 samples: an epoch has 21 steps
CUT = {
    "dense": ("digits/ff", ["network.0.units=40", LARGE], {}),
    "readouts": ("digits/ff-unsupervised", ["network.0.units=40", LARGE], {"cut": ["dense2"]}),
    "convolutions": ("digits/channel", [LARGE], {}),
    "a residual": (
        "digits/channel",
        [
            "network=[{kind: conv, channels: 20}, {kind: residual, items: [{kind: conv, channels: 20}]}, "
            "{kind: conv, channels: 20, stride: 2}]",
            LARGE,
        ],
        {},
    ),
    "a black box": ("digits/blackbox-sign", [LARGE], {}),
    "blocks that do not read each other": (
        "digits/noprop",
        ["network.0.steps=3", "network.0.image=[{kind: conv-bn, channels: 4}]", LARGE],
        {},
    ),
    "blocks that do not read each other, measured": (
        "digits/noprop",
        ["network.0.steps=3", "network.0.image=[{kind: dense, units: 8}]", LARGE],
        {"balance": "measured"},
    ),
    "blocks that take turns": (
        "digits/pff",
        ["network.0.units=[40, 30]", "network.0.steps=4", LARGE],
        {"cut": ["layer2"]},
    ),
    "such blocks, measured": (
        "digits/ff-recurrent",
        ["network.0.units=[40, 30]", "network.0.iterations=5", LARGE],
        {"balance": "measured", "hold": "all"},
    ),
    "measured": ("digits/ff", ["network.0.units=40", LARGE], {"balance": "measured"}),
    "uneven, accumulated, clipped": (
        "digits/ff",
        ["network.0.units=40", "data.batch_size=61", "trainer.accumulate=3", "trainer.clip=0.5"],
        {"cut": ["dense3"]},
    ),
}
KEPT = (
    "a residual",
    "a black box",
    "blocks that do not read each other, measured",
    "blocks that take turns",
    "uneven, accumulated, clipped",
)


@pytest.mark.parametrize(("recipe", "overrides", "pipeline"), thorough_but(KEPT, CUT))
def test_a_pipeline_learns_exactly_what_one_process_learns(pool, work, recipe, overrides, pipeline):
    one = work.learned(recipe, overrides, steps=30)
    for rank in pool("learned", recipe, overrides, steps=30, pipeline=pipeline):
        assert rank.keys() == one.keys()
        for name, value in one.items():
            assert torch.equal(rank[name], value), name
