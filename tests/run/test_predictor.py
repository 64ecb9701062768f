"""A loaded run predicts with the accuracy in its results."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import ffcore
from ffcore.data.arrays import InMemory
from ffcore.data.digits import Digits
from ffcore.errors import RunError, UserError
from ffcore.run.evaluate import evaluate


@pytest.fixture(scope="module")
def test_split():
    return Digits().load().test


def accuracy(predictor, split):
    return float((predictor.predict(split.x) == split.y).mean())


def test_it_has_the_accuracy_of_the_run_on_raw_digits(finished, test_split):
    predictor = ffcore.load(finished.path)
    assert accuracy(predictor, test_split) == pytest.approx(finished.results["test"]["accuracy"])
    assert predictor.classes == tuple("0123456789")
    assert predictor.shape == (1, 8, 8)


def test_it_can_be_pickled(finished, test_split):
    predictor = ffcore.load(finished.path)
    copied = pickle.loads(pickle.dumps(predictor))
    assert np.array_equal(copied.predict(test_split.x), predictor.predict(test_split.x))


def test_it_takes_arrays_tensors_lists_and_flat_images(finished):
    predictor = ffcore.load(finished.path)
    raw = load_digits()
    wanted = predictor.predict(raw.images[:20])
    assert wanted.shape == (20,)
    for form in (
        raw.data[:20],
        raw.images[:20, None].astype("uint8"),
        raw.images[:20, None].astype(">u2"),
        raw.data[:20].astype(object),
        raw.data[:20].tolist(),
        torch.tensor(raw.data[:20], requires_grad=True),
        torch.tensor(raw.data[:20], dtype=torch.bfloat16),
    ):
        assert np.array_equal(np.asarray(predictor.predict(form)), wanted)
    assert predictor.scores(raw.data[:20]).shape == (20, 10)


@pytest.mark.parametrize("shape", [(), (3,), (8, 8), (5, 63), (5, 28, 28)])
def test_other_shapes_raise(finished, shape):
    with pytest.raises(UserError, match=r"the run was trained on \(1, 8, 8\)"):
        ffcore.load(finished.path).predict(np.zeros(shape))


def test_nothing_is_predicted_by_weights_that_are_not_finite(finished, test_split):
    predictor = ffcore.load(finished.path)
    next(predictor.module.parameters()).data.fill_(torch.nan)
    for predict in (predictor.predict, lambda x: predictor.score(x, test_split.y[:20])):
        with pytest.raises(RunError, match="the scores of sample 0 are NaN"):
            predict(test_split.x[:20])


def test_evaluate_repeats_the_results(finished):
    for split in ("test", "val"):
        metrics = evaluate(finished.path, split)
        for key in ("accuracy", "error", "per_block_accuracy"):
            assert metrics[key] == finished.results[split][key]


@pytest.mark.parametrize(
    "options",
    [
        {"trainer.precision": "bf16-mixed"},
        {"trainer.precision": "64-true"},
        {"data.standardise": True},
        {"readouts": {"softmax": {"kind": "softmax"}}, "contribution": "readout"},
    ],
    ids=str,
)
def test_it_has_the_results_of_the_run_in_any_precision(quick, test_split, options):
    run = quick(**options)
    assert evaluate(run.path)["per_block_accuracy"] == run.results["test"]["per_block_accuracy"]
    assert accuracy(ffcore.load(run.path), test_split) == pytest.approx(run.results["test"]["accuracy"])


def test_double_precision_weights_are_not_rounded(quick):
    run = quick(**{"trainer.precision": "64-true"})
    loaded = ffcore.load(run.path).module.network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in run.module.network.state_dict().items())


def test_best_is_the_epoch_with_the_best_validation(quick, test_split):
    ruin = {"kind": "step", "epochs": [1], "by": 1e6}  # makes all epochs after the first one worse
    run = quick(lr_schedule=ruin, **{"data.batch_size": 25, "trainer.select": "best"})
    best, last = ffcore.load(run.path), ffcore.load(run.path, "last")
    assert (run.results["selected"], run.results["epoch_selected"]) == ("best", 1)
    assert accuracy(best, test_split) == pytest.approx(run.results["test"]["accuracy"])
    assert accuracy(last, test_split) < accuracy(best, test_split)
    for split in ("test", "val"):
        assert evaluate(run.path, split)["accuracy"] == run.results[split]["accuracy"]


def test_evaluate_raises_for_a_run_with_data_from_python(quick, test_split):
    run = quick(data=InMemory(test_split.x, test_split.y))
    with pytest.raises(UserError, match="the data set 'arrays' was given from Python"):
        evaluate(run.path)
