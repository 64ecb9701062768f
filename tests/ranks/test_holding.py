"""Ranks of a pipeline hold only their own blocks."""

import json

import pytest
import torch
from torch import nn

from ffcore.ranks.holding import allocate, free, guarded, held

HERE = ["trainer.accelerator=cpu", "trainer.threads=1", "trainer.max_epochs=2", "network.0.units=40"]


def test_a_freed_parameter_stays_the_same_object_and_cannot_be_used():
    linear = nn.Linear(3, 2)
    weight, optimizer = linear.weight, torch.optim.Adam(linear.parameters())
    free([weight])
    assert held(linear.parameters()) == 8  # the bias
    assert linear.weight is weight
    assert optimizer.param_groups[0]["params"][0] is weight
    assert weight.is_meta
    allocate(linear.parameters(), torch.device("cpu"))
    assert weight.shape == (2, 3)
    assert held(linear.parameters()) == 32


def test_a_part_that_another_rank_holds_refuses_to_run():
    linear, shared = nn.Linear(3, 2), nn.ReLU()
    guards = guarded(nn.Sequential(linear, shared), 1, {shared})
    with pytest.raises(RuntimeError, match="rank 1 of the pipeline holds this Linear"):
        linear(torch.ones(1, 3))
    assert shared(torch.ones(1)) == 1
    for guard in guards:
        guard.remove()
    assert linear(torch.ones(1, 3)).shape == (1, 2)


def test_each_rank_holds_the_parameters_of_its_blocks_while_it_learns(pool):
    for rank in pool("held", "digits/ff", [], {}):
        for here, own, every in rank:
            assert here <= 1.05 * own < every


def test_a_callback_of_others_makes_every_rank_hold_all_blocks(pool, tmp_path):
    options = [
        *HERE,
        "trainer.devices=2",
        "trainer.strategy=ff_pipeline",
        "trainer.callbacks=[{kind: ranks_work:Reads}]",
    ]
    assert pool("whole", "digits/ff", str(tmp_path / "run"), options) == ["finished"] * 2
    placed = json.loads((tmp_path / "run" / "results.json").read_text())["placement"]
    assert all(rank["parameters"] == rank["whole"] for rank in placed)
