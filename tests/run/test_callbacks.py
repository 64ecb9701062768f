"""Loggers and callbacks of a recipe."""

import csv
import pathlib

import lightning
import pytest

import ffcore
from ffcore.errors import UserError


class Counts(lightning.Callback):
    """A callback given by its target."""

    made: list["Counts"] = []  # noqa: RUF012

    def __init__(self, start=0):
        self.batches = start
        Counts.made.append(self)

    def on_train_batch_end(self, *args):
        self.batches += 1


class History(lightning.Callback):
    """A callback with a state and the name of a callback of ffcore."""

    def state_dict(self):
        return {"a": 1}


class Missing(lightning.pytorch.loggers.CSVLogger):
    """Writes a file, then raises."""

    def __init__(self, save_dir):
        (pathlib.Path(save_dir) / "missing").mkdir()
        raise ModuleNotFoundError("pip install missing")


def test_a_logger_gets_the_recipe_and_the_metrics_of_every_epoch(quick):
    run = quick(**{"trainer.loggers": ["csv"]})
    (table,) = run.path.rglob("lightning_logs/version_0/metrics.csv")
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row["dense1/loss"]]
    with (run.path / "metrics.csv").open() as file:
        ours = list(csv.DictReader(file))
    for name in ("val_accuracy", "dense2/separation", "lr"):
        assert [float(row[name]) for row in rows] == pytest.approx([float(row[name]) for row in ours])
    assert "digits/ff" in (table.parent / "hparams.yaml").read_text()


def test_tensorboard_if_it_is_installed(quick):
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
        ("loggers", ["builtins:dict"], r"trainer.loggers.0: 'builtins:dict' is not a logger"),
        ("loggers", [{"kind": "csv", "options": {"nmae": "x"}}], r"options: .*did you mean 'name'"),
        ("callbacks", ["EarlyStoping"], r"has no 'EarlyStoping'; did you mean 'EarlyStopping'"),
        ("callbacks", [{"kind": "Timer", "options": {"hours": 3}}], r"trainer.callbacks.0.options: "),
        ("callbacks", ["EarlyStopping"], r"trainer.callbacks.0.options: missing .*'monitor'"),
        ("callbacks", [{"kind": "Timer", "options": {"duration": "soon"}}], r"trainer.callbacks.0: 'Timer'"),
        ("callbacks", ["Timer", "Timer"], r"trainer.callbacks.1: .*'Timer' as trainer.callbacks.0"),
        ("callbacks", [f"{__name__}:History"], r"trainer.callbacks.0: .*'History' as ffcore"),
        ("loggers", [f"{__name__}:Missing"], r"trainer.loggers.0: .*: pip install missing"),
    ],
)
def test_missing_loggers_and_callbacks_raise_before_anything_is_written(quick, tmp_path, key, value, says):
    with pytest.raises(UserError, match=says):
        quick(run_dir=tmp_path / "none", **{f"trainer.{key}": value})
    assert not (tmp_path / "none").exists()


def test_an_existing_empty_directory_is_kept(quick, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="pip install missing"):
        quick(run_dir=tmp_path / "mine", **{"trainer.loggers": [f"{__name__}:Missing"]})
    assert not list((tmp_path / "mine").iterdir())


def test_a_callback_of_lightning_writes_into_the_run_directory(quick, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    saves = {"kind": "ModelCheckpoint", "options": {"save_last": True}}
    run = quick(**{"trainer.callbacks": [saves]})
    assert not list((tmp_path / "here").iterdir())
    assert (run.path / "lightning/checkpoints/last.ckpt").is_file()
    assert {path.name for path in (run.path / "checkpoints").iterdir()} == {
        *("last.ckpt", "previous.ckpt", "best.ckpt")
    }


def test_a_resumed_run_restores_its_callbacks(quick):
    run = quick(**{"trainer.callbacks": ["LearningRateMonitor"], "trainer.loggers": ["csv"]})
    with pytest.raises(UserError, match="finished"):
        ffcore.resume(run.path)


def test_a_callback_on_steps_is_called_for_every_batch(quick):
    class Counting(lightning.Callback):
        steps = 0

        def on_before_optimizer_step(self, trainer, module, optimizer):
            self.steps += 1

    counting = Counting()
    run = quick(callbacks=[counting])
    assert counting.steps == run.results["steps"]
