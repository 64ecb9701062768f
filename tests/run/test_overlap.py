"""Runs with black boxes whose calls overlap with learning are those without."""

import csv

import pytest
import torch

import ffcore
from ffcore.recipe.schema import Recipe

BLOCKS = {
    "logits": {"goodness": "linear-head", "objective": "cross-entropy", "handoff": "rms"},
    "energy": {"goodness": "sum-squares", "objective": "logistic", "handoff": "rms"},
    "channels": {"goodness": "channel-partition", "objective": "cross-entropy", "handoff": "rms"},
}


def recipe(overlap, algorithm="local-errors", block="logits", **more):
    item = {"kind": "blackbox", "box": "quantise", "overlap": overlap}
    dense = {"kind": "dense-bn" if block == "logits" else "dense", "units": 20}
    fields = {
        "name": "overlap",
        "data": {"kind": "digits", "batch_size": 100},
        "algorithm": algorithm,
        "block": BLOCKS[block],
        "network": [dense, {**item, "fit": 1}, dense, item, dense],
        "optimizer": {"kind": "adam", "lr": 0.01},
        "lr_schedule": {"kind": "cosine"},
        "trainer": {"max_epochs": 2, "threads": 1},
        **more,
    }
    return Recipe.model_validate(fields)


def figures(folder):
    """The rows of metrics.csv, but not the times."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "samples_per_s")}
        for row in rows
    ]


@pytest.mark.parametrize(
    ("algorithm", "block", "more"),
    [
        ("local-errors", "logits", {}),
        ("forward-forward", "energy", {}),
        ("forward-forward", "energy", {"readouts": {"softmax": {"kind": "softmax"}}}),
        ("channel-class", "channels", {}),
        (
            "local-errors",
            "logits",
            {"schedule": {"kind": "greedy"}, "trainer": {"max_epochs": 4, "threads": 1}},
        ),
    ],
)
def test_weights_and_figures_are_those_without_overlap(tmp_path, algorithm, block, more):
    runs = [
        ffcore.train(recipe(overlap, algorithm, block, **more), run_dir=tmp_path / str(overlap), report=False)
        for overlap in (False, True)
    ]
    one, other = (run.module.state_dict() for run in runs)
    assert len([name for name in one if name.endswith("weight")]) >= 3
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(other[name], value, rtol=0, atol=0, msg=name)
    assert runs[0].results["test"] == runs[1].results["test"]
    assert figures(tmp_path / "False") == figures(tmp_path / "True")
