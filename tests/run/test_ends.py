"""Runs that a callback ends early: validated, saved, and never trained further."""

import csv
import json
import shutil

import lightning
import numpy as np
import pytest
import torch

import ffcore
from ffcore.errors import TimeUpError, UserError
from ffcore.run.train import train
from tests.chosen import thorough_but

PER_EPOCH = 13  # batches of 100 in 1,293 samples
EARLY = {"kind": "EarlyStopping", "options": {"monitor": "val_accuracy", "mode": "max", "patience": 1}}

STUCK = {"optimizer.lr": 1e-12, "trainer.validate_every": 1}


class CutError(RuntimeError):
    """Simulates the sudden end of a process: only the files are left."""


class CutAt(lightning.Callback):
    def __init__(self, hook, step):
        self.step = step
        setattr(self, hook, self.hook)

    def hook(self, trainer, *args):
        if trainer.global_step == self.step:
            raise CutError


class EndAt(lightning.Callback):
    """A callback given by its target; ends a run in one of Lightning's hooks."""

    def __init__(self, hook, step):
        self.step = step
        setattr(self, hook, self.hook)

    def hook(self, trainer, *args):
        if trainer.global_step >= self.step:
            trainer.should_stop = True


def end_at(hook, step):
    return {"kind": f"{__name__}:EndAt", "options": {"hook": hook, "step": step}}


ENDS = {
    "its last epoch": ({"trainer.max_epochs": 2}, 26),
    "steps, with a checkpoint there": ({"trainer.max_steps": 20, "trainer.checkpoint_every": 10}, 20),
    "steps, within a group of batches": (
        {"trainer.max_steps": 22, "trainer.checkpoint_every": 11, "trainer.accumulate": 4},
        22,
    ),
    "patience": ({"trainer.patience": 1, **STUCK}, 26),
    "EarlyStopping": ({"trainer.callbacks": [EARLY], **STUCK}, 26),
    "another's, as an epoch begins": ({"trainer.callbacks": [end_at("on_train_epoch_start", 26)]}, 26),
    "another's, within an epoch": ({"trainer.callbacks": [end_at("on_train_batch_end", 20)]}, 20),
    "another's, after an epoch's last batch": ({"trainer.callbacks": [end_at("on_train_batch_end", 26)]}, 26),
    "another's, after an epoch": ({"trainer.callbacks": [end_at("on_train_epoch_end", 26)]}, 26),
    "another's, from the start": ({"trainer.callbacks": [end_at("on_fit_start", 0)]}, 1),
}
KEPT = ("its last epoch", "steps, within a group of batches", "patience", "another's, within an epoch")
CUTS = ["on_validation_start", "on_train_epoch_end", "on_train_end", "on_test_start"]


def content(path):
    """Returns everything that must be the same after any interruption."""
    results = json.loads((path / "results.json").read_text())
    made = {key: results[key] for key in ("val", "test", "epochs", "steps", "epoch_selected")}
    for name in ("last", "best"):
        state = torch.load(path / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"]
        made |= {f"{name} {key}": value.numpy() for key, value in state.items()}
    with (path / "metrics.csv").open() as file:
        for number, row in enumerate(csv.DictReader(file)):
            made[f"epoch {number}"] = {k: v for k, v in row.items() if k not in ("seconds", "samples_per_s")}
    with np.load(path / "arrays.npz") as arrays:
        return made | {f"arrays {key}": arrays[key] for key in arrays}


def assert_same(one, other):
    own, expected = content(one), content(other)
    assert own.keys() == expected.keys()
    for key, value in expected.items():
        assert np.array_equal(own[key], value) if isinstance(value, np.ndarray) else own[key] == value, key


@pytest.mark.parametrize(("more", "steps"), thorough_but(KEPT, ENDS))
def test_the_last_epoch_is_always_validated_and_an_interruption_changes_nothing(quick, more, steps):
    more = {"trainer.max_epochs": 9, "trainer.validate_every": 5, **more}
    whole = quick(**more)
    assert whole.results["steps"] == steps
    last = content(whole.path)[f"epoch {whole.results['epochs'] - 1}"]
    assert float(last["val_accuracy"]) == whole.results["val"]["accuracy"]
    for cut in CUTS:
        part = whole.path.with_name("part")
        with pytest.raises(CutError):
            quick(run_dir=part, callbacks=[CutAt(cut, steps)], **more)
        ffcore.resume(part)
        assert_same(part, whole.path)
        shutil.rmtree(part)


def test_max_time_is_not_an_end_for_callbacks_that_monitor(quick, tmp_path):
    whole = quick(**{"trainer.callbacks": [EARLY], "trainer.loggers": ["csv"]})
    recipe = ffcore.recipe.load.load(str(whole.path / "config.yaml"))
    with pytest.raises(TimeUpError):
        train(recipe, tmp_path / "part", max_time=0.0)
    assert not list((tmp_path / "part").rglob("metrics.csv"))
    ffcore.resume(tmp_path / "part")
    assert_same(tmp_path / "part", whole.path)


def test_a_run_without_histograms_may_be_interrupted_during_the_test(quick):
    more = {"algorithm": "backprop", "contribution": "sum", "data.validation": 0}
    whole = quick(**more).path
    part = whole.with_name("part")
    with pytest.raises(CutError):
        quick(run_dir=part, callbacks=[CutAt("on_test_start", 30)], **more)
    assert ffcore.resume(part).results["test"] == json.loads((whole / "results.json").read_text())["test"]


@pytest.mark.parametrize("cut", [None, "on_test_start"])
def test_weights_changed_by_callbacks_at_the_end_are_saved_and_tested(quick, cut):
    swa = {"kind": "StochasticWeightAveraging", "options": {"swa_lrs": 0.001, "swa_epoch_start": 1}}
    more = {"trainer.max_epochs": 3, "trainer.callbacks": [swa]}
    whole = quick(**more).path
    if cut is not None:
        part = whole.with_name("part")
        with pytest.raises(CutError):
            quick(run_dir=part, callbacks=[CutAt(cut, 3 * PER_EPOCH)], **more)
        ffcore.resume(part)
        assert_same(part, whole)
    from ffcore.run.evaluate import evaluate

    results = json.loads((whole / "results.json").read_text())
    assert evaluate(whole)["per_block_accuracy"] == results["test"]["per_block_accuracy"]
    assert results["val"] is None, "validation measured the weights before they were averaged"


def test_averages_after_the_last_validation_are_not_selected_by_it(quick):
    swa = {"kind": "StochasticWeightAveraging", "options": {"swa_lrs": 0.001, "swa_epoch_start": 1}}
    with pytest.raises(UserError, match=r"callbacks\.0: Stochastic.* set trainer\.select: last"):
        quick(**{"trainer.max_epochs": 3, "trainer.select": "best", "trainer.callbacks": [swa]})


def test_a_damaged_checkpoint_never_replaces_a_good_one(quick, tmp_path):
    part = tmp_path / "part"
    with pytest.raises(CutError):
        quick(run_dir=part, callbacks=[CutAt("on_train_batch_end", 25)], **{"trainer.checkpoint_every": 3})
    last, previous = (part / "checkpoints" / name for name in ("last.ckpt", "previous.ckpt"))
    last.write_bytes(last.read_bytes()[:1000])
    good = previous.read_bytes()
    at = torch.load(previous, weights_only=True)["global_step"]
    cut = CutAt("on_train_batch_start", at + 3)
    with pytest.warns(UserWarning, match="the checkpoint before it"), pytest.raises(CutError):
        ffcore.resume(part, callbacks=[cut])
    assert previous.read_bytes() == good
    assert torch.load(last, weights_only=True)["global_step"] == at + 3
    ffcore.resume(part)
    assert torch.load(previous, weights_only=True)["global_step"] > at


def test_a_time_limit_from_python_leaves_a_run_that_is_resumed(quick, tmp_path):
    whole = quick()
    with pytest.raises(TimeUpError):
        quick(run_dir=tmp_path / "part", max_time=1e-3)
    assert ffcore.resume(tmp_path / "part", report=False).results.test == whole.results.test
    for wrong in (0, -1, float("nan"), "10m"):
        with pytest.raises(UserError, match=r"max_time: .* should be a number of seconds above 0"):
            ffcore.train("digits/ff", run_dir=tmp_path / "none", max_time=wrong)
    assert not (tmp_path / "none").exists()
