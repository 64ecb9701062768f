"""The files of a run directory."""

import csv
import json

import numpy as np
import pytest
import torch

from ffcore.errors import RunError, UserError
from ffcore.recipe.load import load as load_recipe
from ffcore.run import directory

KEYS = """
recipe seed git_commit device threads versions parameters epochs wall_s samples_per_s peak_memory
val.accuracy test.accuracy test.error test.per_block_accuracy
"""


@pytest.fixture(scope="module")
def results(finished):
    return json.loads((finished.path / "results.json").read_text())


@pytest.fixture(scope="module")
def rows(finished):
    with (finished.path / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_all_files_are_written(finished):
    there = {path.name for path in finished.path.rglob("*") if path.is_file() and path.stat().st_size}
    assert there >= {"config.yaml", "results.json", "metrics.csv", "report.md", "overview.png"}
    assert there >= {"last.ckpt", "best.ckpt"}


def test_no_incomplete_file_is_left(finished):
    assert not list(finished.path.rglob(".*"))


def test_a_draft_of_a_killed_run_is_removed_from_its_directory(quick, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config-x1y2.tmp").write_text("name: digits")
    run = quick(run_dir=tmp_path / "run", **{"trainer.max_epochs": 1})
    assert not list(run.path.glob(".*"))


def test_another_hidden_file_is_kept(quick, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".notes").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        quick(run_dir=tmp_path / "run")


def test_all_documented_keys_are_written(results):
    for key in KEYS.split():
        value = results
        for part in key.split("."):
            value = value[part]
        assert value is not None or key == "git_commit", key


def test_values_are_plausible(finished, results):
    assert results == json.loads(json.dumps(finished.results))
    assert results["recipe"] == "digits/ff"
    assert (results["seed"], results["threads"], results["epochs"]) == (1, 1, 2)
    assert results["parameters"] == 64 * 500 + 500 + 2 * (500 * 500 + 500)
    assert results["versions"]["torch"] == torch.__version__
    assert results["device"].startswith("cpu") or torch.cuda.is_available()
    assert min(results[key] for key in ("wall_s", "samples_per_s", "peak_memory")) > 0
    test = results["test"]
    assert 0.5 < test["accuracy"] <= 1
    assert test["error"] == pytest.approx(100 * (1 - test["accuracy"]), abs=1e-3)
    assert list(test["per_block_accuracy"]) == ["dense1", "dense2", "dense3"]
    assert np.sum(test["confusion"]) == results["data"]["test"] == 360
    assert np.trace(test["confusion"]) == pytest.approx(360 * test["accuracy"], abs=1e-3)


def test_the_validation_split_is_named(results):
    assert results["split"]["validation"] == {"from": "train", "count": 144, "seed": 0}
    assert (results["data"]["train"], results["data"]["validation"]) == (1293, 144)
    assert np.sum(results["val"]["confusion"]) == 144


def test_steps_are_batches(results, rows):
    batches = -(-1293 // 25)
    assert results["steps"] == 2 * batches
    assert [int(row["step"]) for row in rows] == [batches, 2 * batches]


def test_metrics_have_a_row_per_epoch(results, rows):
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["val_accuracy"]) == results["val"]["accuracy"]
    assert all(row[f"{block}/loss"] for row in rows for block in ("dense1", "dense2", "dense3"))


def test_config_loads_back_to_the_same_recipe(finished):
    wanted = load_recipe("digits/ff", ["trainer.max_epochs=2", "trainer.threads=1"])
    assert load_recipe(str(finished.path / "config.yaml")) == wanted


@pytest.mark.parametrize("name", ["last", "best"])
def test_checkpoints_load_without_pickled_objects(finished, name):
    state = torch.load(finished.path / "checkpoints" / f"{name}.ckpt", weights_only=True)
    assert state["global_step"] == 104
    assert state["ffcore"]["data"]["name"] == "digits"


def test_a_run_from_python_has_no_command(finished, results):
    assert results["command"] is None
    assert "Made by" not in (finished.path / "report.md").read_text()


def test_runs_of_the_same_second_get_a_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "20260101-000000")
    made = [directory.create(None, "a/b").as_posix() for _ in range(3)]
    assert made == [f"runs/a-b-20260101-000000{end}" for end in ("", "-2", "-3")]


def test_results_are_json_or_an_error(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        directory.write_json(tmp_path / "results.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_not_empty_raises(finished):
    with pytest.raises(UserError, match="not empty"):
        directory.check(finished.path)


def test_a_non_finite_metric_does_not_lose_the_results(quick, monkeypatch):
    algorithm = "ffcore_ff.algorithm.ForwardForward"
    inf = torch.tensor(float("inf"))
    monkeypatch.setattr(f"{algorithm}.measure", lambda self, batch, net: {"mine": inf.expand(len(batch.x))})
    good = torch.tensor(2.0, dtype=torch.bfloat16)  # NumPy has no bfloat16
    monkeypatch.setattr(f"{algorithm}.conclude", lambda self, *given: {"bad": inf, "good": good})
    with pytest.warns(UserWarning, match="bad is inf; left out"):
        run = quick()
    assert run.results["test"]["mine"] is None
    assert run.results["concluded"] == {"good": 2.0}


def test_an_algorithm_cannot_replace_a_metric_of_every_run(quick, monkeypatch):
    mine = {"accuracy": torch.zeros(1)}
    monkeypatch.setattr("ffcore_ff.algorithm.ForwardForward.measure", lambda self, batch, net: mine)
    with pytest.raises(RunError, match="'accuracy' is a metric of every run"):
        quick()


def test_a_component_whose_arrays_fail_does_not_lose_the_results(quick, monkeypatch):
    monkeypatch.setattr("ffcore_std.contributions.SkipFirst.arrays", lambda self: 1 / 0)
    with pytest.warns(UserWarning, match="arrays of contribution/SkipFirst are left out: ZeroDivisionError"):
        assert "test" in quick().results
