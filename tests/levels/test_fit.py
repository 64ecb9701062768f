"""The run directory of a network that was made in Python: fit, evaluate, load, resume."""

import json

import numpy as np
import pytest
import torch
from lightning import Callback
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ffcore
from ffcore.errors import UserError
from ffcore.run.fit import dataset_of

TRAINER = {"threads": 1}


def digits():
    data = load_digits()
    return (data.data / 16).astype(np.float32), data.target


def network(units=80):
    torch.manual_seed(0)
    sizes = [(64, units), (units, units)]
    blocks = [
        ffcore.LocalBlock(
            nn.Sequential(nn.Linear(*size), nn.ReLU()), "sum-squares", objective="logistic", handoff="rms"
        )
        for size in sizes
    ]
    algorithm = {"kind": "forward-forward", "labels": "overlay"}
    return ffcore.Network(blocks, algorithm, example=torch.zeros(2, 64), classes=10, seed=3)


def fit(net=None, epochs=2, **changes):
    x, y = digits()
    options = {"test": (x[1400:], y[1400:]), "optimizer": {"kind": "adam", "lr": 0.01}, "trainer": TRAINER}
    options = {"report": False, "epochs": epochs, **options, **changes}
    return ffcore.fit(net or network(), (x[:1200], y[:1200]), (x[1200:1400], y[1200:1400]), **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fit(run_dir=tmp_path_factory.mktemp("fit") / "run", epochs=6, report=True)


def test_a_run_directory_has_all_files(run):
    names = {path.name for path in run.path.iterdir()}
    assert names >= {
        "config.yaml",
        "metrics.csv",
        "results.json",
        "report.html",
        "checkpoints",
        "arrays.npz",
    }
    assert run.results.test.accuracy > 0.5
    assert run.results.seed == 3
    split = json.loads((run.path / "results.json").read_text())["split"]["validation"]
    assert split == {"count": 200, "from": "data"}  # given as val: not drawn from train with a seed
    assert "200 samples, given with the data" in (run.path / "report.md").read_text()


def test_early_exits_of_a_network_made_in_python_are_chosen_in_python(run):
    x, y = digits()
    splits = (x[:1200], y[:1200]), (x[1200:1400], y[1200:1400]), (x[1400:], y[1400:])
    predictor = ffcore.load(run.path, net=network())
    record = ffcore.choose_exits(predictor, 1.0, data=dataset_of(network(), *splits))
    assert record.ways[0].test.accuracy == pytest.approx(run.results.test.accuracy)
    assert record.ways[1].test.multiplications <= record.ways[0].test.multiplications
    assert len(ffcore.load(run.path, net=network()).early().predict(x[:5])) == 5
    (run.path / "exits.json").unlink()
    swapped = dataset_of(network(), splits[0], splits[2], splits[1])
    with pytest.raises(UserError, match="exits: are chosen on the run's own validation split"):
        ffcore.choose_exits(predictor, data=swapped)


def test_the_network_itself_has_learned(run):
    x, y = digits()
    of_run = run.results.test.accuracy
    assert (
        ffcore.evaluate(run.module.net, (torch.tensor(x[1400:]), torch.tensor(y[1400:]))).accuracy == of_run
    )
    assert ffcore.evaluate(run, (x[1400:], y[1400:])).accuracy == of_run


def test_a_predictor_takes_and_returns_what_it_was_given(run):
    x, y = digits()
    predictor = run.predictor()
    assert (predictor.predict(x) == y).mean() > 0.5
    assert isinstance(predictor.predict(torch.tensor(x)), torch.Tensor)
    halved = Pipeline([("half", FunctionTransformer(lambda x: x / 2)), ("net", FrozenEstimator(predictor))])
    np.testing.assert_array_equal(halved.predict(2 * x[:50]), predictor.predict(x[:50]))


def test_a_run_is_loaded_with_a_new_network(run):
    x, _ = digits()
    np.testing.assert_array_equal(
        ffcore.load(run.path, net=network()).scores(x[:9]), run.predictor().scores(x[:9])
    )
    with pytest.raises(UserError, match=r"was given from Python .*net=…"):
        ffcore.load(run.path)
    with pytest.raises(
        UserError, match=r"^net: does not fit .*last\.ckpt; make it in the same way as that of"
    ):
        ffcore.load(run.path, net=network(units=70))


def test_how_to_train_on_from_a_finished_run_is_said_and_works(run, tmp_path):
    with pytest.raises(UserError, match=r"finished.*ffcore\.load\(.*, net=net\), ffcore\.fit"):
        fit(run_dir=run.path, epochs=9, resume=True)
    net = network()
    ffcore.load(run.path, net=net)
    seen = []
    net.blocks[0].body.register_forward_hook(lambda body, *_: seen.append(body.training))
    again = fit(net, run_dir=tmp_path / "again", epochs=1)
    assert any(seen)
    assert again.results.test.accuracy > fit(run_dir=tmp_path / "new", epochs=1).results.test.accuracy


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            raise RuntimeError("stopped")


def test_a_resumed_run_is_bit_identical(tmp_path):
    whole = fit(run_dir=tmp_path / "whole", epochs=3)
    with pytest.raises(RuntimeError, match="stopped"):
        fit(run_dir=tmp_path / "part", epochs=3, callbacks=[StopAt(17)])
    resumed = fit(run_dir=tmp_path / "part", epochs=3, resume=True)
    for one, other in zip(whole.module.net.parameters(), resumed.module.net.parameters(), strict=True):
        assert torch.equal(one, other)


def test_loaders_and_data_sets_are_read_once(tmp_path):
    x, y = (torch.tensor(t) for t in digits())
    rows = TensorDataset(x[:300], y[:300])
    runs = [
        ffcore.fit(network(), data, epochs=1, trainer=TRAINER, report=False, run_dir=tmp_path / str(i))
        for i, data in enumerate([rows, DataLoader(rows, batch_size=100), (x[:300], y[:300])])
    ]
    assert len({run.results.test.accuracy for run in runs}) == 1
    assert runs[0].results["data"]["train"] == 270


def test_a_localized_model_can_be_fitted(tmp_path):
    model = nn.Sequential(nn.Sequential(nn.Linear(64, 100), nn.ReLU()), nn.Linear(100, 10))
    net = ffcore.localize(
        model, "0", head="1", example=torch.zeros(2, 64), classes=10, algorithm="forward-forward",
        goodness="sum-squares", objective="logistic",
    )  # fmt: skip
    run = fit(net, run_dir=tmp_path / "run", epochs=4)
    x, y = (torch.tensor(t) for t in digits())
    assert run.results.test.accuracy > 0.5
    assert (ffcore.delocalize(net)(x[1400:]).argmax(1) == y[1400:]).float().mean() > 0.5


BAD = {
    "a model": ({"net": nn.Linear(64, 10)}, r"a Linear is not an ffcore\.Network"),
    "best without test": ({"test": None, "trainer": {"select": "best"}}, "'best' selects on val"),
    "names of other classes": ({"classes": ["a", "b"]}, "2 names, but the network has 10 classes"),
    "an optimiser": ({"optimizer": 3}, "optimizer"),
    "a line of the trainer": ({"trainer": {"epochs": 3}}, "trainer.epochs"),
    "samples of another shape": ({"test": (np.zeros((4, 63), np.float32), np.zeros(4, int))}, "63"),
    "no pair": ({"test": np.zeros((4, 64))}, "test: should be a pair"),
    "tokens": ({"test": (np.zeros((4, 64), int), np.zeros(4, int))}, "x_test is int64"),
    "classes of text": ({"test": (np.zeros((4, 64), np.float32), ["a"] * 4)}, "y_test is"),
}


@pytest.mark.parametrize(("changes", "complaint"), BAD.values(), ids=BAD)
def test_invalid_arguments_are_refused_before_anything_is_written(changes, complaint, tmp_path):
    with pytest.raises(UserError, match=complaint):
        fit(run_dir=tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_data_of_another_shape_than_the_network_is_refused(tmp_path):
    x, y = digits()
    with pytest.raises(UserError, match=r"the network was built for 10 of \(64,\)"):
        ffcore.fit(network(), (x[:, :50], y), run_dir=tmp_path / "run")


def test_a_network_is_evaluated_on_samples_only():
    with pytest.raises(UserError, match="give samples and classes"):
        ffcore.evaluate(network())
    with pytest.raises(UserError, match="x: has no samples"):
        ffcore.evaluate(network(), (torch.zeros(0, 64), torch.zeros(0).long()))


def test_a_run_with_objects_predicts_and_is_evaluated_without_giving_them_again(tmp_path):
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 60), nn.ReLU())
    run = ffcore.train(
        "digits/ff",
        network=[body, {"kind": "dense", "units": 60}],
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
        trainer={"max_epochs": 1, "threads": 1},
        report=False,
        run_dir=tmp_path / "run",
    )
    assert ffcore.evaluate(run).accuracy == run.results.test.accuracy
    assert run.predictor().predict(load_digits().images[:5]).shape == (5,)
