"""Other targets and inputs on two ranks: the same steps and measures as in one process."""

import json

import pytest
import torch

from tests.chosen import thorough_but

TOKENS = ["network.0.units=16", "network.1.heads=2", "network.1.repeat=2", "network.1.dropout=0"]
DIGITS = (
    "data={kind: python, target: 'sklearn.datasets:load_digits', options: {return_X_y: true}, batch_size: 68"
)
ROWS = ["network=[{kind: dense, units: 20, repeat: 2}]", "readouts={}", "contribution=mean"]
CASES = {
    "tokens": ("text/characters-local", TOKENS, 0.5),
    "tokens in windows": ("text/characters-local", [*TOKENS, "schedule={kind: windows, size: 2}"], 0.5),
    "tokens with similar positions": (
        "text/characters-local",
        [
            *TOKENS,
            "data.length=63",
            "block.penalties={similar: {kind: similarity, kernel: null, weight: 0.5}}",
        ],
        0.5,
    ),
    "real numbers": ("tables/diabetes-regression", ["network.0.units=20"], 0.1),
    "no targets, other rows as negatives": (
        "digits/ff-unsupervised",
        [*ROWS, f"{DIGITS}, task: none, scale: inputs}}", "algorithm.negatives={kind: corrupted}"],
        0.01,
    ),
    "no targets, two views": (
        "digits/ff-unsupervised",
        [
            *ROWS,
            f"{DIGITS}, task: none, scale: inputs}}",
            "algorithm={kind: two-views, augment: [noise, mask]}",
            "block={goodness: null, objective: null, penalties: {pair: {kind: nt-xent}}}",
        ],
        0.1,
    ),
}


@pytest.mark.parametrize(
    ("recipe", "overrides", "lr"), thorough_but(["tokens with similar positions", "real numbers"], CASES)
)
def test_two_ranks_make_the_same_steps_as_one(pool, work, recipe, overrides, lr):
    arguments = [*overrides, "trainer.precision=64-true", f"optimizer={{kind: sgd, lr: {lr}}}"]
    one = work.learned(recipe, arguments, 8)
    first, second = pool("learned", recipe, arguments, 8)
    start = work.learned(recipe, arguments, steps=0)
    assert max(float((one[name].double() - start[name].double()).abs().max()) for name in one) > 1e-4
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), f"{name} differs between the ranks"
        difference = (first[name].double() - value.double()).abs() / value.double().abs().clamp(min=1)
        assert float(difference.max()) <= 1e-12, name


@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        *(CASES[name][:2] for name in ("tokens", "real numbers", "no targets, other rows as negatives")),
        (
            "digits/forward-projection",
            [
                "network=[{kind: dense, units: 10, activation: identity}]",
                "block={goodness: logits, rule: ridge}",
                "schedule=joint",
                "data.batch_size=68",
            ],
        ),
    ],
    ids=["tokens", "real numbers", "no targets", "closed forms"],
)
def test_two_ranks_measure_the_same_as_one(pool, work, tmp_path, recipe, overrides):
    here = [*overrides, "trainer.accelerator=cpu", "trainer.threads=1", "trainer.max_epochs=1"]
    here += ["trainer.precision=64-true", "optimizer={kind: sgd, lr: 0.01}"]
    assert work.whole(recipe, str(tmp_path / "one"), here) == "finished"
    two = [*here, "trainer.devices=2"]
    assert pool("whole", recipe, str(tmp_path / "two"), two) == ["finished"] * 2
    one, both = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two"))
    for split in ("val", "test"):
        for measure, value in one[split].items():
            if isinstance(value, float):
                assert both[split][measure] == pytest.approx(value, rel=1e-6), (split, measure)
