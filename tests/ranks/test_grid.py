"""Two replicas of a pipeline of two ranks learn and measure the same as one process."""

import csv
import json
import re
import shutil

import pytest
import torch

from tests.chosen import thorough_but

GRID = {
    "ff": ("digits/ff", ["network.0.units=40"], 0.01),
    "ff, hypotheses and readouts": ("digits/ff-unsupervised", ["network.0.units=40"], 0.01),
    "channel": ("digits/channel", ["block.penalties.contrast={kind: contrast, width: 8}"], 0.01),
    "local errors": ("digits/mono-forward", [], 0.01),
    "batch norm": (
        "digits/channel",
        ["network=[{kind: conv-norm, channels: 20, stride: 2}, {kind: conv-norm, channels: 20}]"],
        0.01,
    ),
    "pff": ("digits/pff", ["network.0.units=[40, 30]", "network.0.steps=6"], 0.01),
    "blocks that do not read each other": (
        "digits/noprop",
        [
            "network.0.steps=3",
            "network.0.image=[{kind: dense, units: 8}]",
            "network.0.layer={kind: dense, units: 20}",
        ],
        0.1,
    ),
}
# digits has 1,293 training samples: of batches of 68 the last has one, so that a replica has none
TUNED = {
    "single": ([], 20, "32-true", 1e-6),
    "double, uneven, accumulated": (["data.batch_size=68", "trainer.accumulate=3"], 20, "64-true", 1e-12),
}


@pytest.mark.parametrize(
    ("options", "steps", "precision", "most"), thorough_but(["double, uneven, accumulated"], TUNED)
)
@pytest.mark.parametrize(("recipe", "overrides", "lr"), thorough_but(["ff", "batch norm"], GRID))
def test_a_grid_makes_the_same_steps_as_one_process(
    four, work, same_steps, recipe, overrides, lr, options, steps, precision, most
):
    arguments = [*overrides, *options, f"trainer.precision={precision}", f"optimizer={{kind: sgd, lr: {lr}}}"]
    one = work.learned(recipe, arguments, steps)
    ranks = four("learned", recipe, arguments, steps, pipeline={"stages": 2})
    start = work.learned(recipe, arguments, steps=0)
    same_steps(one, start, ranks, most)


HERE = ["trainer.accelerator=cpu", "trainer.threads=1", "trainer.precision=64-true"]
TWICE = ["trainer.max_epochs=2", "network.0.units=40"]
FOUR = ["trainer.devices=4", "trainer.strategy={kind: ff_grid, stages: 2}"]


@pytest.mark.parametrize("recipe", ["digits/ff", "digits/pff"])
def test_each_rank_of_a_grid_holds_the_parameters_of_its_blocks_while_it_learns(four, recipe):
    for rank in four("held", recipe, [], {"stages": 2}):
        for here, own, every in rank:
            assert here <= 1.05 * own < every


SHORT = ["network.0.units=[40, 30]", "network.0.steps=2", "algorithm.mixture=all", "trainer.max_epochs=1"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("digits/ff", TWICE),
        ("digits/ff-unsupervised", TWICE),
        ("digits/pff", SHORT),
    ],
    ids=["hypotheses", "readouts", "turns"],
)
def test_a_pipeline_validates_as_one_process_without_holding_all_blocks(
    pool, four, work, tmp_path, recipe, overrides
):
    runs = {"one": (work.whole, []), "two": (pool, ["trainer.devices=2", "trainer.strategy=ff_pipeline"])}
    runs["grid"] = four, FOUR
    rows = {}
    for name, (call, options) in runs.items():
        arguments = (recipe, str(tmp_path / name), [*HERE, *overrides, *options])
        done = call(*arguments) if name == "one" else call("whole", *arguments)
        assert done in ("finished", ["finished"] * 2, ["finished"] * 4)
        with (tmp_path / name / "metrics.csv").open() as file:
            rows[name] = [
                {k: float(v) for k, v in row.items() if k not in ("seconds", "samples_per_s")}
                for row in csv.DictReader(file)
            ]
    for name in ("two", "grid"):
        for row, right in zip(rows[name], rows["one"], strict=True):
            assert row == pytest.approx(right, rel=1e-9)
        for key, value in weights(tmp_path / "one").items():
            torch.testing.assert_close(weights(tmp_path / name)[key], value, rtol=0, atol=1e-9)
        placed = json.loads((tmp_path / name / "results.json").read_text())["placement"]
        assert all(rank["parameters"] < rank["whole"] for rank in placed), placed


def weights(folder):
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_a_grid_is_resumed_as_a_grid_as_data_parallel_and_in_one_process(four, work, tmp_path):
    accumulated = [*HERE, *TWICE, "trainer.accumulate=5"]
    one, through, there = tmp_path / "one", tmp_path / "through", tmp_path / "there"
    assert work.whole("digits/ff", str(one), accumulated) == "finished"
    assert four("whole", "digits/ff", str(through), [*accumulated, *FOUR]) == ["finished"] * 4
    stopped = four("whole", "digits/ff", str(there), [*accumulated, *FOUR], press=2)
    assert len({re.search(r"of step (\d+)", answer)[1] for answer in stopped}) == 1
    copies = {name: tmp_path / name for name in ("grid", "flat", "alone")}
    for copy in copies.values():
        shutil.copytree(there, copy)
    assert four("whole", "", str(copies["grid"]), []) == ["finished"] * 4
    for name, value in weights(through).items():
        assert torch.equal(weights(copies["grid"])[name], value), name
    assert four("whole", "", str(copies["flat"]), ["trainer.strategy=ff_local"]) == ["finished"] * 4
    alone = ["trainer.devices=1", "trainer.strategy=auto"]
    assert work.whole("", str(copies["alone"]), alone) == "finished"
    for name, value in weights(one).items():
        for copy in (through, *copies.values()):
            torch.testing.assert_close(weights(copy)[name], value, rtol=0, atol=1e-9)
