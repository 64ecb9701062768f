"""Input and output types of a predictor, its errors, and its use with scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.inspection import permutation_importance
from sklearn.metrics import get_scorer
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import ffcore
from ffcore.data.arrays import InMemory
from ffcore.errors import UserError
from ffcore.run.estimator import like
from ffcore.run.predictions import predictions


@pytest.fixture(scope="module")
def predictor(finished):
    return finished.predictor()


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_the_predictor_of_a_run_is_the_loaded_one(finished, predictor, digits):
    assert np.array_equal(predictor.scores(digits.images), ffcore.load(finished.path).scores(digits.images))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "scores"])
def test_an_array_or_a_list_gives_an_array_and_a_tensor_a_tensor(predictor, digits, method):
    ask = getattr(predictor, method)
    x = digits.data[:7]
    array, of_list, tensor = ask(x), ask(x.tolist()), ask(torch.from_numpy(x))
    assert (type(array), type(of_list), type(tensor)) == (np.ndarray, np.ndarray, torch.Tensor)
    assert array.shape == ((7,) if method == "predict" else (7, 10))
    assert array.dtype == (np.int64 if method == "predict" else np.float32)
    assert np.array_equal(array, of_list)
    assert np.array_equal(array, tensor.numpy())


def test_predictions_compare_with_labels_as_numpy_does(predictor, digits):
    x, y = digits.images[1437:], digits.target[1437:]
    assert predictor.score(x, y) == (predictor.predict(x) == y).mean() > 0.8


def test_probabilities_are_the_softmax_of_the_scores(predictor, digits):
    x = digits.images[:50]
    scores = predictor.scores(x).astype(np.float64)
    power = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(predictor.predict_proba(x), power / power.sum(1, keepdims=True), atol=1e-6)


def test_mirrored_strided_and_read_only_arrays_are_accepted(predictor, digits):
    x = digits.images[:20]
    for view in (x[:, :, ::-1], x[::-2], np.asfortranarray(x), x.transpose(0, 2, 1)):
        view.flags.writeable = False
        copied = np.ascontiguousarray(view)
        assert np.array_equal(predictor.scores(view), predictor.scores(copied))


@pytest.mark.parametrize(
    "empty", [np.zeros((0, 8, 8)), np.zeros((0, 64), dtype=np.uint8), [], torch.zeros(0, 1, 8, 8)], ids=str
)
def test_no_samples_give_no_predictions(predictor, empty):
    assert predictor.predict(empty).shape == (0,)
    assert predictor.predict_proba(empty).shape == (0, 10)
    with pytest.raises(UserError, match="no samples"):
        predictor.score(empty, [])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy, np.ndarray.tolist])
def test_the_first_row_that_is_not_finite_is_named(predictor, digits, value, form):
    x = digits.images[:9].copy()
    x[7, 0, 0] = x[4, 3, 2] = value
    with pytest.raises(UserError, match=rf"^x: row 4 has {value}.*1 more rows$".replace("+", r"\+")):
        predictor.predict(form(x))


@pytest.mark.parametrize(
    "x",
    [[["a"] * 64], [["1"] * 64], [[1.0] * 64, [2.0]], np.full((2, 64), 1j), [[object()] * 64]],
    ids=["letters", "digits as text", "ragged", "complex", "objects"],
)
def test_samples_other_than_numbers_raise(predictor, x):
    with pytest.raises(UserError):
        predictor.predict(x)


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (None, "not a NoneType"),
        (torch.utils.data.DataLoader([1]), "not a DataLoader"),
        ((row for row in [1]), "not a generator"),
        (np.zeros((8, 8)), r"for one sample give x\[None\]"),
    ],
    ids=["nothing", "loader", "generator", "one sample"],
)
def test_other_objects_and_a_single_sample_are_explained(predictor, x, match):
    with pytest.raises(UserError, match=f"^x: .*{match}"):
        predictor.predict(x)


@pytest.mark.parametrize(("arrays", "has"), [({"z": np.zeros((2, 1, 8, 8))}, "z"), ({}, "none")])
def test_a_file_without_the_array_x_is_explained(finished, tmp_path, arrays, has):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=rf"x\.npz: has no array x; it has {has}$"):
        predictions(finished.path, tmp_path / "x.npz")


def test_classes_are_numbers_from_zero(predictor):
    assert np.array_equal(predictor.classes_, np.arange(10))


def test_score_takes_numbers_and_names(quick, digits):
    names = ["zero", "one", "two"]
    few = digits.target < 3
    x, y = digits.images[few].astype(np.float32), digits.target[few]
    predictor = quick(data=InMemory(x, y, classes=names)).predictor()
    wanted = predictor.score(x, y)
    for form in (y.tolist(), torch.from_numpy(y), y.astype(float), [names[k] for k in y]):
        assert predictor.score(x, form) == wanted
    assert predictor.score(x, np.array(names, dtype=object)[y]) == wanted
    assert predictor.score(x, np.array(names)[y]) == wanted


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([0, 1, 10], "row 2 is 10; classes are 0 to 9"),
        ([0, -1, 1], "row 1 is -1"),
        ([0.0, 0.5, 1.0], "row 1 is 0.5"),
        ([0.0, np.nan, 1.0], "row 1 is nan"),
        (["0", "1", "ten"], "row 2 is 'ten', which is not a class"),
        ([0, 1], "3 samples, but y has 2 classes"),
        ([[0], [1], [2]], "one class per sample"),
        ([0, None, 1], "numbers or names"),
    ],
    ids=str,
)
def test_score_raises_for_invalid_classes(predictor, digits, y, expected):
    with pytest.raises(UserError, match=expected):
        predictor.score(digits.images[:3], y)


def test_permutation_importance_finds_the_pixels_that_matter(predictor, digits):
    x, y = digits.data[1437:1537], digits.target[1437:1537]
    found = permutation_importance(predictor, x, y, n_repeats=2, random_state=0)
    assert found.importances_mean[0] == 0  # the corner is never drawn on
    assert found.importances_mean.max() > 0


def test_scorers_that_only_predict_take_it(predictor, digits):
    x, y = digits.data[1437:], digits.target[1437:]
    assert get_scorer("accuracy")(predictor, x, y) == predictor.score(x, y)
    assert get_scorer("roc_auc_ovr")(predictor, x, y) > 0.9
    assert get_scorer("neg_log_loss")(predictor, x, y) < 0


def test_fit_raises(predictor, digits):
    with pytest.raises(UserError, match="FrozenEstimator"):
        predictor.fit(digits.data, digits.target)


def test_frozen_it_is_the_last_step_of_a_pipeline(predictor, digits):
    frozen = pytest.importorskip("sklearn.frozen").FrozenEstimator(predictor)
    x, y = digits.data[1437:], digits.target[1437:]
    pipeline = Pipeline([("scale", FunctionTransformer(lambda x: 16 * x)), ("net", frozen)])
    assert np.array_equal(pipeline.predict(x / 16), predictor.predict(x))
    pipeline.fit(x / 16, y)
    assert np.array_equal(pipeline.predict_proba(x / 16), predictor.predict_proba(x))
    assert pipeline.score(x / 16, y) == predictor.score(x, y)
    assert np.array_equal(pipeline.classes_, np.arange(10))
    assert np.array_equal(cross_val_predict(frozen, x, y, cv=3), predictor.predict(x))
    assert cross_val_score(pipeline, x / 16, y, cv=3).mean() == pytest.approx(predictor.score(x, y), abs=0.01)


def test_samples_that_were_scaled_already_give_a_warning(predictor, digits):
    with pytest.warns(UserWarning, match="the values are 0 to 1, but the run was trained on .* 0 to 16"):
        predictor.predict(digits.images[:20] / 16)
    predictor.predict((digits.images[:20] > 8).astype(float))


def test_any_strides_and_read_only_arrays_are_accepted(predictor, digits):
    x = digits.images.astype(np.uint8)
    x.setflags(write=False)
    assert np.array_equal(predictor.predict(x[:, ::-1][:, ::-1]), predictor.predict(x))
    assert (predictor.predict(x) == digits.target).mean() > 0.2


def test_several_inputs_in_tensors_give_a_tensor():
    made = torch.arange(3)
    t = torch.zeros(3, 2)
    for x in (t, (t, t), {"image": t, "table": t}):
        assert like(x, made) is made
    for x in (t.numpy(), (t.numpy(), t), {"image": t.numpy()}, [t, t], {}):
        assert isinstance(like(x, made), np.ndarray)
