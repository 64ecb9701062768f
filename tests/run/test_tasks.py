"""Runs of tasks other than the classification of samples: results, selection, report, loading, resuming."""

import csv
import json
import sys

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

import ffcore
from ffcore.build.form import Form
from ffcore.engine.measures import TaskMeasures, score
from ffcore.errors import RunError, UserError
from ffcore.tasks import MultiLabel, Regression, TokenClassification

TRAINER = {"threads": 1}
VOCABULARY, T = 6, 5


def numbers(n=200):
    x = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    return x, (x[:, :2] @ np.array([1.0, -2.0]) + 0.1 * x[:, 2]).astype(np.float32)


def tokens(n=120):
    x = np.random.default_rng(0).integers(VOCABULARY, size=(n, T))
    y = (x + 1) % VOCABULARY
    y[::3, 3:] = -100
    return x, y


def regression():
    torch.manual_seed(0)
    blocks = [
        ffcore.LocalBlock(
            nn.Sequential(nn.Linear(d, 16), nn.ReLU()), "linear-head", objective="squared-error"
        )
        for d in (4, 16)
    ]
    return ffcore.Network(blocks, "local-errors", torch.zeros(2, 4), task="regression", seed=3)


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.layer = nn.Embedding(VOCABULARY, 8), nn.Linear(8, 8)

    def forward(self, x):
        return torch.tanh(self.layer(self.token(x)))


def language():
    torch.manual_seed(0)
    blocks = [
        ffcore.LocalBlock(body, "linear-head", objective="cross-entropy")
        for body in (Embedded(), nn.Sequential(nn.Linear(8, 8), nn.Tanh()))
    ]
    example = torch.zeros(2, T, dtype=torch.int64)
    return ffcore.Network(blocks, "local-errors", example, task=TokenClassification(VOCABULARY), seed=3)


def metrics(path):
    return list(csv.DictReader((path / "metrics.csv").read_text().splitlines()))


def fit(net, data, path, epochs=4, **more):
    adam = {"kind": "adam", "lr": 0.01}
    options = {"report": False, "epochs": epochs, "optimizer": adam, "trainer": TRAINER, "batch_size": 20}
    return ffcore.fit(net, data, run_dir=path, **{**options, **more})


def test_a_regression_has_results_a_report_and_a_predictor(tmp_path):
    x, y = numbers()
    run = fit(regression(), (x, y), tmp_path / "run", report=True)
    stored = json.loads((tmp_path / "run" / "results.json").read_text())
    assert stored["task"] == {"name": "Regression", "headline": "r2", "lower": False}
    assert set(stored["test"]) == {"r2", "mae", "rmse", "per_block"}
    assert run.results.test.measures["r2"] == stored["test"]["r2"] > 0.5
    assert list(run.results.test.per_block) == ["block1", "block2"]
    with pytest.raises(AttributeError, match="no accuracy; they have r2, mae, rmse"):
        _ = run.results.test.accuracy
    rows = metrics(tmp_path / "run")
    assert float(rows[-1]["val_r2"]) > float(rows[0]["val_r2"])
    assert "val/block1" in rows[0]
    report = (tmp_path / "run" / "report.md").read_text()
    assert "| r2 |" in report
    predictor = ffcore.load(tmp_path / "run", net=regression())
    assert predictor.predict(x[:3]).shape == (3, 1)
    measured = ffcore.evaluate(predictor, (x, y))
    error = ((predictor.predict(x)[:, 0] - y) ** 2).sum()
    right = 1 - error / ((y - y.mean()) ** 2).sum()
    assert measured.measures["r2"] == pytest.approx(float(right), rel=1e-3)


def test_tokens_are_trained_and_predicted(tmp_path):
    run = fit(language(), tokens(), tmp_path / "run", epochs=20)
    test = run.results.test
    assert test.measures["accuracy"] > 0.9
    assert test.measures["perplexity"] == pytest.approx(np.exp(test.measures["cross_entropy"]), rel=1e-4)
    predictor = ffcore.load(tmp_path / "run", net=language())
    assert predictor.predict(tokens()[0][:3]).shape == (3, T)
    with pytest.raises(UserError, match="should be int64"):
        predictor.predict(np.zeros((3, T)))


def test_the_best_weights_have_the_lowest_perplexity(tmp_path):
    x, y = tokens()
    options = {
        "val": (x[:40], y[:40]),
        "test": (x[40:60], y[40:60]),
        "trainer": {**TRAINER, "select": "best"},
    }
    run = fit(language(), (x[60:], y[60:]), tmp_path / "run", **options)
    rows = metrics(tmp_path / "run")
    best = min(rows, key=lambda row: float(row["val_perplexity"]))
    assert run.results.epoch_selected == int(best["epoch"])
    task = TokenClassification(3)
    assert score(task, {"perplexity": 2.0}) > score(task, {"perplexity": 3.0})
    assert score(task, {"perplexity": float("nan")}) == -float("inf")


@pytest.mark.parametrize(("make", "data"), [(regression, numbers), (language, tokens)])
def test_a_resumed_run_is_equal_to_an_uninterrupted_one(tmp_path, make, data):
    whole = fit(make(), data(), tmp_path / "whole")
    with pytest.raises(RunError, match="Stopped"):
        fit(make(), data(), tmp_path / "parts", callbacks=[Stopped()])
    parts = fit(make(), data(), tmp_path / "parts", resume=True)
    assert dict(parts.results.test) == dict(whole.results.test)
    for name, value in whole.module.state_dict().items():
        torch.testing.assert_close(parts.module.state_dict()[name], value, rtol=0, atol=0)


class Stopped(L.Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt


def test_a_network_for_another_task_is_refused(tmp_path):
    x, _ = numbers()
    with pytest.raises(UserError, match="should be floats"):
        fit(regression(), (x, np.zeros((len(x), 2), np.float32)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", [Regression(2), MultiLabel(3), TokenClassification(4)])
def test_measures_of_parts_are_those_of_the_whole(task):
    generator = torch.Generator().manual_seed(0)
    positions = (T,) if task.features is not None else ()
    evidence = torch.randn(2, 40, *positions, task.columns, generator=generator)
    y = torch.randint(2, (40, *positions) if positions else (40, task.columns), generator=generator)
    y = y.float() if task.target == "values" else y
    whole = TaskMeasures(task, 2)
    whole.update(evidence, evidence.mean(0), y)
    parts = [TaskMeasures(task, 2) for _ in range(2)]
    for part, some in zip(parts, (slice(0, 15), slice(15, 40)), strict=True):
        part.update(evidence[:, some], evidence[:, some].mean(0), y[some])
    merged = parts[0].metrics(Pair(parts))
    wanted = whole.metrics()
    assert merged.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(merged[name], wanted[name], rtol=1e-5)


class Pair:
    """Two ranks in one process: `objects` gives what both would send."""

    world = 2

    def __init__(self, parts):
        self.parts, self._calls = parts, 0
        self._values = self._of_both()

    def _of_both(self):
        first, second = self.parts
        yield [0, 0]
        for a, b in zip(
            [*first._combined.values(), *first._sources],
            [*second._combined.values(), *second._sources],
            strict=True,
        ):
            yield [(each.update_count, each.metric_state) for each in (a, b)]

    def objects(self, own):
        return next(self._values)


def test_r2_of_large_targets_keeps_its_digits():
    y = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0)) + 1e5
    made = y + 0.5 * torch.randn(1000, 1, generator=torch.Generator().manual_seed(1))
    measures = TaskMeasures(Regression(1), 1)
    for some in (slice(0, 400), slice(400, 1000)):
        measures.update(made[None, some], made[some], y[some])
    total, error = (y - y.double().mean()).square().sum(), (made - y).double().square().sum()
    assert measures.metrics()["r2"] == pytest.approx(float(1 - error / total), abs=1e-5)


def test_r2_of_one_sample_is_not_defined():
    measures = TaskMeasures(Regression(1), 1)
    measures.update(torch.ones(1, 1, 1), torch.ones(1, 1), torch.ones(1, 1))
    assert np.isnan(measures.metrics()["r2"])


def test_measures_of_labels_do_not_depend_on_the_batches():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(40, 2, generator=generator)  # all of them positive: every label is predicted
    y = torch.randint(2, (40, 2), generator=generator)
    whole, single = TaskMeasures(MultiLabel(2), 1), TaskMeasures(MultiLabel(2), 1)
    whole.update(scores[None], scores, y)
    for i in range(40):
        single.update(scores[None, i : i + 1], scores[i : i + 1], y[i : i + 1])
    assert whole.metrics() == single.metrics()
    predicted = MultiLabel(2).predict(scores)
    hits, many = (predicted * y).sum(0), predicted.sum(0) + y.sum(0)
    assert whole.metrics()["f1"] == pytest.approx(float((2 * hits / many).mean()))


def test_cross_entropy_of_confident_mistakes_is_finite():
    measures = TaskMeasures(TokenClassification(2), 1)
    scores = torch.tensor([[[200.0, 0.0]]])
    measures.update(scores[None], scores, torch.tensor([[1]]))
    assert measures.metrics()["cross_entropy"] == pytest.approx(200.0)


def test_a_checkpoint_does_not_choose_a_module_to_import(tmp_path):
    run = fit(regression(), numbers(), tmp_path / "run", epochs=1)
    for file in (run.path / "checkpoints").iterdir():
        state = torch.load(file, weights_only=True)
        assert state["ffcore"]["data"]["task"] == {
            "kind": "regression",
            "values": 1,
            "mean": None,
            "std": None,
        }
        state["ffcore"]["data"]["task"] = {"kind": "this:Task"}
        torch.save(state, file)
    ffcore.load(run.path, net=regression())
    form = {"shape": [4], "classes": ["0"], "task": {"kind": "this:Task"}}
    with pytest.raises(UserError, match="'this:Task' is not a registered task"):
        Form.read(form)
    assert "this" not in sys.modules


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.block = ffcore.LocalBlock(body, "linear-head", objective="cross-entropy")

    def forward(self, x, mask):
        return self.block(x * mask)


def test_several_inputs_are_trained_and_predicted(tmp_path):
    x, mask, y = torch.randn(60, 4), torch.ones(60, 4), torch.arange(60) % 3
    nets = [ffcore.Network(Masked(), "local-errors", (x, mask), classes=3) for _ in range(2)]
    run = fit(nets[0], ((x, mask), y), tmp_path / "run", epochs=1)
    made = run.predictor().predict((x, mask))
    predictor = ffcore.load(run.path, net=nets[1])
    assert (predictor.predict((x.numpy(), mask.numpy())) == made).all()
    with pytest.raises(UserError, match="the network was built for floats"):
        fit(nets[0], ((x, mask.long()), y), tmp_path / "other")
    assert not (tmp_path / "other").exists()
