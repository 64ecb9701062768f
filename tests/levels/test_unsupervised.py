"""Learning without targets, on all levels."""

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ffcore
from ffcore.data.python import PythonData
from ffcore.errors import UserError

N, T = 300, 12


def sequences(seed=0, samples=N):
    """Rising numbers from a random start: any other order is a negative."""
    start = torch.rand(samples, 1, generator=torch.Generator().manual_seed(seed))
    return start + torch.linspace(0, 3, T)


def network(x, **more):
    torch.manual_seed(0)
    blocks = [
        ffcore.LocalBlock(
            nn.Sequential(nn.Linear(inputs, 40), nn.ReLU()), "mean-squares", objective="symba", handoff="rms"
        )
        for inputs in (T, 40)
    ]
    algorithm = {"kind": "forward-forward-unsupervised", "negatives": "reordered"}
    return ffcore.Network(blocks, algorithm, example=x[:2], task="none", **more)


def test_level_1_learns_and_finds_outliers():
    x = sequences()
    net = network(x)
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=3e-3)
    before = ffcore.evaluate(net, (x, None)).measures["loss"]
    for _ in range(60):
        net.learn(x, None, optimizers)
    measured = ffcore.evaluate(net, (x, None))
    assert measured.measures["loss"] < 0.3 * before
    fresh = sequences(seed=1)
    outliers = fresh[:, torch.randperm(T, generator=torch.Generator().manual_seed(2))]
    assert net.predict(fresh).shape == (N, 1)
    assert net.predict(fresh).min() > net.predict(outliers).max()


@pytest.mark.parametrize("labelled", [False, True])
def test_level_2_takes_samples_alone_and_ignores_classes(labelled, trainer):
    x = sequences()
    columns = (x, torch.zeros(N).long()) if labelled else (x,)
    net = network(x)
    module = ffcore.ForwardOnly(net, torch.optim.Adam, lr=3e-3)
    fit = trainer(max_epochs=2)
    fit.fit(module, DataLoader(TensorDataset(*columns), 100), DataLoader(TensorDataset(*columns), 100))
    assert float(fit.callback_metrics["val_loss"]) < 1.5


def test_a_run_is_selected_by_its_loss_and_can_be_loaded(tmp_path):
    x = sequences()
    test = sequences(seed=1)
    run = ffcore.fit(
        network(x), x, x[:100], test, epochs=3, batch_size=50, run_dir=tmp_path / "run",
        trainer={"select": "best", "threads": 1}, report=True,
    )  # fmt: skip
    assert run.results["test"]["loss"] > 0
    assert run.results["task"] == {"name": "Unsupervised", "headline": "loss", "lower": True}
    assert "loss" in (tmp_path / "run" / "report.md").read_text()
    predictor = ffcore.load(tmp_path / "run", net=network(x))
    assert predictor.predict(test).shape == (N, 1)
    again = ffcore.evaluate(predictor, (test, None)).measures["loss"]
    assert again == pytest.approx(run.results["test"]["loss"], rel=0.2)  # other negatives


def unlabelled():
    return sequences().numpy()


@pytest.mark.usefixtures("undrawn")
def test_a_recipe_learns_without_targets(tmp_path):
    run = ffcore.train(
        "digits/ff-unsupervised",
        run_dir=tmp_path / "run",
        data=PythonData(unlabelled, task="none"),
        algorithm={"negatives": "corrupted"},
        network=[{"kind": "dense", "units": 30}],
        block={"goodness": "mean-squares", "objective": "symba", "penalties": {}},
        readouts={},
        contribution="mean",
        trainer={"max_epochs": 1},
    )
    assert np.isfinite(run.results["val"]["loss"])


def test_parts_that_need_targets_are_refused():
    x = sequences()
    with pytest.raises(UserError, match="learns from targets of the sort class or labels or values"):
        ffcore.Network([ffcore.LocalBlock(nn.Linear(T, 3), "linear-head", objective="cross-entropy")],
                       "local-errors", example=x[:2], task="none")  # fmt: skip
    with pytest.raises(UserError, match=r"readouts\.softmax: learns from targets, but the task has none"):
        network(x, readouts={"softmax": "softmax"})
    body = ffcore.LocalBlock(nn.Linear(T, 3), "linear-head", objective="cross-entropy")
    net = ffcore.Network([body], "local-errors", example=x[:2], classes=3)
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    with pytest.raises(UserError, match="y: should be an int64 tensor"):
        net.learn(x, None, optimizers)


@pytest.fixture
def trainer(tmp_path):
    def make(**options):
        return L.Trainer(
            default_root_dir=tmp_path, enable_progress_bar=False, enable_checkpointing=False, logger=False,
            enable_model_summary=False, accelerator="cpu", log_every_n_steps=1, **options,
        )  # fmt: skip

    return make
