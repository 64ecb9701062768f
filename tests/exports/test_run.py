"""Exports of finished runs, from Python and from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

import ffcore
from ffcore.cli.main import main
from ffcore.data.images import ImageSet
from ffcore.exports.run import of_run
from ffcore.run.data import Data
from ffcore.run.recorded import recipe_of

edge = pytest.importorskip("ffcore.edge")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "r"
    ffcore.train(
        "digits/ff",
        run_dir=path,
        report=False,
        **{"network": [{"kind": "dense", "units": 30, "repeat": 2}], "trainer.max_epochs": 2},
    )
    return path


def images(run: Path) -> ImageSet:
    return Data.open(recipe_of(run)).images


def test_a_bundle_of_a_run_predicts_stored_values_as_the_run_does(run: Path, tmp_path: Path) -> None:
    learner = edge.Learner(edge.load(ffcore.export(run, tmp_path / "b", "predict")))
    test = images(run).test
    assert np.array_equal(learner.predict(test.x), ffcore.load(run).predict(test.x))


def test_a_bundle_of_a_regression_learns_from_and_predicts_stored_numbers(tmp_path: Path) -> None:
    path = tmp_path / "run"
    ffcore.train("tables/diabetes-regression", run_dir=path, report=False, **{"trainer.max_epochs": 2})
    learner = edge.Learner(edge.load(ffcore.export(path, tmp_path / "b")))
    test = load_diabetes(return_X_y=True)
    x, y = (each.astype(np.float32) for each in test)
    made = ffcore.load(path).predict(x)
    np.testing.assert_allclose(learner.predict(x), made, rtol=1e-5)
    assert learner.evaluate(x, y) == pytest.approx(np.square(made[:, 0] - y).mean(), rel=1e-5)
    losses = learner.step(x[:32], y[:32])
    assert max(losses.values()) < 3, "of standardised numbers"


@pytest.mark.thorough
def test_a_device_that_begins_with_the_runs_first_weights_learns_what_the_run_has(
    run: Path, tmp_path: Path
) -> None:
    net, training = of_run(run, initial=True)
    assert (training.epochs, training.batch_size, training.name) == (2, 25, "digits/ff")
    learner = edge.Learner(edge.load(ffcore.export(net, tmp_path / "b", training=training)))
    data = Data.open(recipe_of(run))
    learner.learn(data.train.x, data.train.y, epochs=2)
    results = json.loads((run / "results.json").read_text())
    test = data.images.test
    # rounding of Adam's first gradients near zero moves a few of 360 test images
    assert learner.evaluate(test.x, test.y) == pytest.approx(results["test"]["accuracy"], abs=0.015)


@pytest.mark.thorough
def test_the_command_lists_the_files(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "learn", "--out", str(tmp_path / "b"), "--epochs", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(tmp_path / "b")
    assert [line.split()[0] for line in lines[1:]] == [
        "learn.onnx",
        "predict.onnx",
        "weights.npz",
        "golden.npz",
    ]
    assert json.loads((tmp_path / "b" / "bundle.json").read_text())["epochs"] == 3


def test_the_command_writes_c(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "learn", "--to", "c", "--out", str(tmp_path / "c")]) == 0
    assert sorted(path.suffix for path in (tmp_path / "c").iterdir()) == [".c", ".h"]
    assert "#define FFNET_SCALE 0.0625f\n" in (tmp_path / "c" / "ffnet.h").read_text()
    capsys.readouterr()
    assert (
        main(["export", str(run), "predict", "--to", "c", "--rows", "3", "--out", str(tmp_path / "d")]) == 2
    )
    assert capsys.readouterr().err == "error: --rows does not apply to --to c\n"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "predict"]) == 2
    assert "not a run directory" in capsys.readouterr().err
