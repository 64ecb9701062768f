"""Options of a recipe that change a run."""

import csv

import numpy as np
import pytest
import torch

import ffcore
from ffcore.build.assemble import assemble
from ffcore.cli.main import main
from ffcore.data.arrays import InMemory
from ffcore.errors import UserError
from ffcore.plugin import manager
from ffcore.recipe.load import load as load_recipe

DENSE = {"kind": "dense", "units": 64}


def rows(run):
    with (run.path / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def losses(row):
    return [float(value) for key, value in row.items() if key.endswith("/loss") and value]


def start(run):
    """Returns the initial weights of the run."""
    predictor = ffcore.load(run.path)
    return assemble(predictor.recipe, predictor.shape, len(predictor.classes)).state_dict()


@pytest.mark.parametrize(
    "options",
    [
        {"trainer.accumulate": 4},
        {"trainer.clip": 0.1},
        {"trainer.precision": "bf16-mixed"},
        {"trainer.precision": "64-true"},
        {"lr_schedule": "cosine"},
        {"lr_schedule": {"kind": "step", "epochs": [1]}},
        {"lr_schedule": "hold-then-linear", "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9}},
        {"optimizer": "adamw"},
        {"optimizer": "rmsprop"},
        {"block.objective": "symba"},
        {"block.penalties": {"peers": {"kind": "peer-normalisation"}}},
        {"network": [DENSE, {"kind": "residual", "items": [DENSE]}]},
        {"network": [DENSE, {"kind": "residual", "merge": "concat", "items": [DENSE]}, DENSE]},
        {"schedule": {"kind": "greedy"}, "trainer.max_epochs": 3},
        {"schedule": {"kind": "interleaved", "spans": [[0, 2], [0, 1], [1, 2]]}},
        {"schedule": "one-window"},
        {"schedule": "overlapping"},
        {"readouts": {"r": "softmax"}, "algorithm.negatives": "hard", "contribution": "readout"},
    ],
    ids=str,
)
def test_it_trains(quick, options):
    run = quick(**options)
    assert all(row["val_accuracy"] and np.isfinite(losses(row)).all() for row in rows(run))
    before, after = start(run), run.module.state_dict()
    weights = [name for name in after if name.endswith("weight")]
    assert len(weights) >= 2
    assert all((after[name].cpu() != before[name]).any() for name in weights)


def test_the_backprop_twin_has_the_same_blocks_and_a_head(quick):
    run = quick("digits/backprop", **{"data.batch_size": 25})
    assert [block["name"] for block in run.results["blocks"]] == ["dense1", "dense2", "dense3", "head"]
    assert list(run.results["test"]["per_block_accuracy"]) == ["head"]
    assert run.results["test"]["accuracy"] > 0.5


def test_accumulated_batches_count_as_batches(quick):
    assert quick(**{"trainer.accumulate": 4}).results["steps"] == 2 * 13


def test_learning_rates_follow_the_schedule(quick):
    run = quick(lr_schedule={"kind": "step", "epochs": [1], "by": 0.1})
    assert [float(row["lr"]) for row in rows(run)] == pytest.approx([1e-3, 1e-4])


def test_without_validation_the_last_epoch_is_selected(quick):
    run = quick(**{"data.validation": 0})
    assert run.results["val"] is None
    assert run.results["data"]["train"] == 1437
    assert "best.ckpt" not in {path.name for path in (run.path / "checkpoints").iterdir()}
    assert ffcore.load(run.path).predict(np.zeros((1, 8, 8))).shape == (1,)


@pytest.mark.parametrize("every", [2, 9])
def test_the_last_epoch_is_always_validated_and_saved(quick, every):
    run = quick(**{"trainer.max_epochs": 3, "trainer.validate_every": every})
    validated = [bool(row["val_accuracy"]) for row in rows(run)]
    assert validated == [False, every == 2, True]
    last = torch.load(run.path / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == run.results["steps"]
    assert float(rows(run)[-1]["val_accuracy"]) == run.results["val"]["accuracy"]


def test_max_steps_ends_within_an_epoch(quick):
    run = quick(**{"trainer.max_steps": 15})
    assert run.results["steps"] == 15
    assert rows(run)[-1]["val_accuracy"]
    assert torch.load(run.path / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 15


@pytest.fixture
def blobs():
    """Four well separated classes with twelve features."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 4
    x = rng.random((240, 12), dtype=np.float32)
    x[np.arange(240), 4 + y] += 3
    return x, y


def test_arrays_from_a_file(quick, blobs, tmp_path):
    x, y = blobs
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, classes=["n", "e", "s", "w"])
    run = quick(
        data={"kind": "arrays", "path": tmp_path / "mine.npz", "batch_size": 20}, **{"trainer.max_epochs": 10}
    )
    assert run.results["data"]["name"] == "mine"
    assert run.results["data"]["classes"] == ["n", "e", "s", "w"]
    assert run.results["test"]["accuracy"] > 0.5


def test_tensors_from_python(quick, blobs):
    x, y = map(torch.from_numpy, blobs)
    run = quick(data=InMemory(x, y), **{"data.batch_size": 20, "trainer.max_epochs": 10})
    assert run.results["data"]["shape"] == [12]
    assert run.results["test"]["accuracy"] > 0.5
    assert ffcore.load(run.path).predict(x).shape == (240,)


def test_a_recipe_object_takes_no_overrides(quick):
    with pytest.raises(ValueError, match="overrides need"):
        ffcore.train(load_recipe("digits/ff"), seed=2)


def test_best_needs_a_validation_split(quick, tmp_path):
    with pytest.raises(UserError, match=r"trainer\.select: 'best' needs a validation split"):
        quick(**{"data.validation": 0, "trainer.select": "best"})
    assert not list(tmp_path.iterdir())


PLUGIN = '''
import torch
from ffcore.interfaces import Goodness
from ffcore.plugin import hookimpl


class Power(Goodness):
    """Σ |h|^p.

    Args:
        p: the power.
    """

    form = "energy"

    def __init__(self, p: float = 2.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, activity: torch.Tensor) -> torch.Tensor:
        return activity.abs().pow(self.p).flatten(1).sum(1)


@hookimpl
def ffcore_register(registry):
    registry.goodness("power", f"{__name__}:Power")
'''


def test_a_plugin_file_trains_from_the_command_line(undrawn, tmp_path, capsys):
    plugin, run = tmp_path / "mine.py", tmp_path / "run"
    plugin.write_text(PLUGIN)
    words = ["run", "digits/ff", "trainer.max_epochs=2", "block.goodness={kind: power, p: 3}"]
    assert main(["--plugin", str(plugin), *words, "--run-dir", str(run)]) == 0
    assert "test error" in capsys.readouterr().out
    assert main(["--plugin", str(plugin), "eval", str(run)]) == 0
    assert "accuracy" in capsys.readouterr().out
    manager.use(None)
    assert main(["eval", str(run)]) == 2
    assert "'power' is not a goodness" in capsys.readouterr().err
    assert main(["--plugin", str(plugin), *words, "block.goodness.q=1"]) == 2
    assert "unknown key 'q'" in capsys.readouterr().err
