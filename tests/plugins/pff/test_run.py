"""A run of predictive Forward-Forward, its report, and samples from it."""

import json

import numpy as np
import pytest
from PIL import Image

import ffcore
from ffcore.cli.main import main
from ffcore.data.arrays import InMemory
from ffcore.errors import UserError

SMALL = {"network.0.units": [30, 20], "network.0.steps": 4, "trainer": {"max_epochs": 2, "threads": 1}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return ffcore.train("digits/pff", run_dir=tmp_path_factory.mktemp("pff") / "run", **SMALL)


def test_a_run_stores_arrays_and_metrics_of_generated_images(run):
    for name in ("reconstructions", "samples", "goodness-by-step"):
        assert (run.path / "pictures" / f"{name}.png").is_file()
    results = json.loads((run.path / "results.json").read_text())
    assert 0 < results["test"]["reconstruction_mse"] < 0.3
    assert results["test"]["reconstruction_bce"] > 0
    assert set(results["concluded"]) == {
        *("samples_as_asked", "judge_accuracy", "samples_to_train", "test_to_train")
    }
    assert results["concluded"]["judge_accuracy"] > 0.8
    header = (run.path / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/reconstruction_mse", "generator1/loss", "layer1/positive", "val/classifier"} <= set(header)
    with np.load(run.path / "arrays.npz") as arrays:
        assert arrays["samples"].shape == (10, 10, 1, 8, 8)
        assert arrays["goodness_by_step"].shape == (2, 2, 4)
    assert "## Generation" in (run.path / "report.md").read_text()


def test_samples_of_a_class_are_written_as_numbers_and_as_a_picture(run, capsys):
    assert main(["sample", str(run.path), "--n", "7", "--label", "3"]) == 0
    written = capsys.readouterr().out.split()
    made = np.load(written[0])
    assert made.shape == (7, 1, 8, 8)
    assert 0 <= made.min() <= made.max() <= 1
    with Image.open(written[1]) as picture:
        assert picture.size == (4 * (3 * 9 - 1), 4 * (3 * 9 - 1))


def test_the_same_seed_writes_the_same_numbers_and_nothing_is_overwritten(run, tmp_path, capsys):
    for folder in ("a", "b"):
        assert main(["sample", str(run.path), "--n", "5", "--out", str(tmp_path / folder)]) == 0
    name = "samples-all-seed0-n5.npy"
    np.testing.assert_array_equal(np.load(tmp_path / "a" / name), np.load(tmp_path / "b" / name))
    assert main(["sample", str(run.path), "--n", "5", "--out", str(tmp_path / "a")]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--label", "10"], "--label 10: the classes are 0, 1, 2"),
        (["--label", "seven"], "--label seven: the classes are 0, 1, 2"),
        (["--n", "0"], "0 is not in the range x>=1"),
        (["--seed", "-1"], "-1 is not in the range x>=0"),
        (["--out", __file__], "cannot be written to"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(run, words, complaint, capsys):
    assert main(["sample", str(run.path), *words]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_a_run_without_a_generator_is_refused(undrawn, tmp_path, capsys):
    folder = tmp_path / "ff"
    ffcore.train(
        "digits/ff", run_dir=folder, network=[{"kind": "dense", "units": 20}], **{"trainer.max_steps": 2}
    )
    assert main(["sample", str(folder)]) == 2
    assert "this run has no generator" in capsys.readouterr().err


def test_a_class_with_too_few_samples_for_its_mixture_is_refused_before_anything_is_learned(tmp_path):
    with pytest.raises(UserError, match="algorithm: components: 500, but class"):
        ffcore.train("digits/pff", run_dir=tmp_path / "run", **{**SMALL, "algorithm.components": 500})
    assert not (tmp_path / "run").exists()


def test_images_outside_of_what_the_generator_makes_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"algorithm: inputs are between -.* set data.standardise to false"):
        ffcore.train("digits/pff", run_dir=tmp_path / "run", **{**SMALL, "data.standardise": True})


def test_a_run_whose_conclusion_fails_keeps_its_results(undrawn, tmp_path, monkeypatch):
    def fail(*args):
        raise ValueError("no latents today")

    monkeypatch.setattr("ffcore_pff.mixture.Mixture.fit", fail)
    with pytest.warns(UserWarning, match="are left out: ValueError: no latents today"):
        ffcore.train("digits/pff", run_dir=tmp_path / "run", **SMALL)
    assert json.loads((tmp_path / "run" / "results.json").read_text())["concluded"] == {}


@pytest.mark.usefixtures("undrawn")
def test_samples_that_are_no_images_are_numbers_only(tmp_path, capsys):
    random = np.random.default_rng(0)
    x, y = random.random((120, 12)).astype(np.float32), np.arange(120) % 3
    folder = tmp_path / "run"
    ffcore.train("digits/pff", data=InMemory(x, y, x, y), run_dir=folder, **SMALL)
    assert not (folder / "pictures" / "samples.png").exists()
    assert main(["sample", str(folder)]) == 2
    assert "are not images; use --no-picture" in capsys.readouterr().err
    assert main(["sample", str(folder), "--no-picture", "--n", "4"]) == 0
    assert np.load(capsys.readouterr().out.strip()).shape == (4, 12)
