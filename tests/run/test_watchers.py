"""Loggers and callbacks that a recipe names."""

import csv

import lightning
import pytest

import ffcore
from ffcore.errors import UserError


class Counts(lightning.Callback):
    """Found by its path."""

    made: list["Counts"] = []  # noqa: RUF012

    def __init__(self, start=0):
        self.batches = start
        Counts.made.append(self)

    def on_train_batch_end(self, *args):
        self.batches += 1


def test_a_logger_is_told_the_recipe_and_every_epochs_figures(quick):
    run = quick(**{"trainer.loggers": ["csv"]})
    (table,) = run.path.rglob("lightning_logs/version_0/metrics.csv")
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row["dense1/loss"]]
    with (run.path / "metrics.csv").open() as file:
        ours = list(csv.DictReader(file))
    for name in ("val_accuracy", "dense2/separation", "lr"):
        assert [float(row[name]) for row in rows] == pytest.approx([float(row[name]) for row in ours])
    assert "digits/ff" in (table.parent / "hparams.yaml").read_text()


def test_tensorboard_where_it_is_installed(quick):
    pytest.importorskip("tensorboard")
    run = quick(**{"trainer.loggers": ["tensorboard"]})
    assert list(run.path.rglob("events.out.tfevents*"))


def test_callbacks_by_name_and_by_path(quick):
    early = {"kind": "EarlyStopping", "options": {"monitor": "val_accuracy", "mode": "max", "patience": 1}}
    path = {"kind": f"{__name__}:Counts", "options": {"start": 100}}
    more = {"trainer.max_epochs": 9, "optimizer.lr": 1e-12, "trainer.callbacks": [early, path]}
    run = quick(**more)
    assert run.results["epochs"] == 2
    assert Counts.made[-1].batches == 100 + run.results["steps"]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("loggers", ["tensorbord"], "there is no logger 'tensorbord'; did you mean 'tensorboard'"),
        ("loggers", ["nowhere.at.all:Logger"], r"trainer.loggers.0: .*cannot be imported"),
        ("loggers", ["builtins:dict"], r"trainer.loggers.0: 'builtins:dict' is no logger"),
        ("loggers", [{"kind": "csv", "options": {"nmae": "x"}}], r"options: .*did you mean 'name'"),
        ("callbacks", ["EarlyStoping"], r"no 'EarlyStoping' in .*did you mean 'EarlyStopping'"),
        ("callbacks", [{"kind": "Timer", "options": {"hours": 3}}], r"trainer.callbacks.0.options: "),
    ],
)
def test_what_is_not_there_is_said_before_anything_is_written(quick, tmp_path, key, value, says):
    with pytest.raises(UserError, match=says):
        quick(run_dir=tmp_path / "none", **{f"trainer.{key}": value})
    assert not (tmp_path / "none").exists()


def test_a_resumed_run_goes_on_with_its_callbacks(quick):
    run = quick(**{"trainer.callbacks": ["LearningRateMonitor"], "trainer.loggers": ["csv"]})
    with pytest.raises(UserError, match="finished"):
        ffcore.resume(run.path)
