"""Bad bundles and bad data: one line each, and nothing has changed."""

import json

import numpy as np
import pytest

from ffcore.edge import EdgeError, Learner, load
from tests.edge.bundles import K, data, edit, weights, write_about


def refused(path, message, **how):
    with pytest.raises(EdgeError, match=message) as caught:
        load(path, **how)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def rewritten(path, file, content):
    """The bundle with another file, and its right hash."""
    if isinstance(content, bytes):
        (path / file).write_bytes(content)
    else:
        np.savez(path / file, **content)
    write_about(path, json.loads((path / "bundle.json").read_text()))
    return path


def test_another_version_of_the_format_is_refused(make_bundle):
    refused(edit(make_bundle(), format=2), "is of format 2, but this version of ffcore.edge reads format 1")


def test_what_is_not_a_bundle_is_refused(tmp_path):
    refused(tmp_path, "not a bundle; it should be a directory with bundle.json")
    refused(tmp_path / "nowhere", "not a bundle")
    for text, message in (
        ("{", "cannot be read as JSON"),
        ("[]", "is of format None"),
        ('{"format": 1}', "has no"),
    ):
        (tmp_path / "bundle.json").write_text(text)
        refused(tmp_path, message)
    (tmp_path / "bundle.json").write_bytes(b"\xff\xfe")
    refused(tmp_path, "cannot be read as JSON")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "pixels"}, "target should be one of class, labels, values, none, not 'pixels'"),
        ({"batch_size": 0}, "a batch has less than one sample"),
        ({"columns": "many"}, "is not of format 1"),
        ({"phases": 3}, "is not of format 1"),
        ({"state": {}}, "unknown input or output"),
        ({"scheduled": {"x": [1]}}, "'x' is not a state"),
        ({"stored": {"scale": 1, "mean": [0, 0], "std": [1]}}, "one for each channel"),
    ],
)
def test_descriptions_that_contradict_themselves_are_refused(make_bundle, changes, message):
    refused(edit(make_bundle(), **changes), message)


def test_files_outside_the_bundle_are_refused(make_bundle):
    path = make_bundle()
    about = json.loads((path / "bundle.json").read_text())
    for name in ("../x", "/etc/passwd", "a\\..\\x"):
        about["files"][name] = {"sha256": "", "bytes": 0}
        (path / "bundle.json").write_text(json.dumps(about))
        refused(path, "is outside the bundle")
        del about["files"][name]


@pytest.mark.parametrize("file", ["learn.onnx", "predict.onnx", "weights.npz", "golden.npz"])
def test_missing_truncated_and_edited_files_are_refused(make_bundle, file):
    path = make_bundle()
    content = (path / file).read_bytes()
    (path / file).unlink()
    refused(path, f"{file}: is missing or unreadable: No such file or directory; copy the bundle again")
    (path / file).write_bytes(content[:-1])
    refused(path, f"{file}: has {len(content) - 1} bytes instead of {len(content)}")
    (path / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(path, rf"{file}: has been changed \(its SHA-256 is another\)")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (None, "has no array out.bias"),
        (np.zeros(4, np.float32), r"out.bias should be float32 \(3,\), not float32 \(4,\)"),
        (np.zeros(3), r"out.bias should be float32 \(3,\), not float64 \(3,\)"),
        (np.array([0, np.nan, 0], np.float32), "out.bias has values that are not finite"),
        (np.array([0, np.inf, 0], np.float32), "out.bias has values that are not finite"),
        (np.array([{}] * 3), "out.bias is a pickle"),
    ],
)
def test_weights_that_do_not_fit_are_refused(make_bundle, array, message):
    arrays = weights() | {"out.bias": array}
    if array is None:
        del arrays["out.bias"]
    refused(rewritten(make_bundle(), "weights.npz", arrays), message)


def test_weights_that_are_no_archive_are_refused(make_bundle, tmp_path):
    refused(rewritten(make_bundle(), "weights.npz", b"not a zip"), "weights.npz: not a complete .npz file")
    np.save(tmp_path / "one.npy", np.zeros(3))
    refused(rewritten(make_bundle(), "weights.npz", (tmp_path / "one.npy").read_bytes()), "holds one array")


def test_an_engine_without_an_operator_names_it(make_bundle):
    path = make_bundle(nodes=[("Identity", ["x"], ["y"]), ("Fancy", ["y"], ["scores"])])
    refused(path, r"predict.onnx: ONNX Runtime .* has no operator Fancy of this form")


def test_a_graph_that_is_no_model_is_refused(make_bundle):
    refused(
        rewritten(make_bundle(), "predict.onnx", b"model"),
        "predict.onnx: ONNX Runtime .* cannot load the graph",
    )


@pytest.mark.parametrize("array", ["scores", "loss/out", "new/first.weight", "new/out.bias"])
def test_a_golden_step_with_other_numbers_is_refused_by_name(make_bundle, array):
    path = make_bundle()
    with np.load(path / "golden.npz") as stored:
        arrays = dict(stored)
    wrong = arrays[array].copy()
    wrong.reshape(-1)[-1] += 1e-3
    rewritten(path, "golden.npz", {**arrays, array: wrong})
    refused(path, rf"the engine's {array} differs from torch's by \d\.\de-0\d \(at most 1e-05\)")
    assert load(path, check=False).about.name == "by hand"


def test_a_golden_step_that_is_not_finite_is_refused(make_bundle):
    path = make_bundle()
    with np.load(path / "golden.npz") as stored:
        arrays = dict(stored)
    rewritten(path, "golden.npz", {**arrays, "rate": np.float32("nan")})
    refused(path, "the golden step failed: step 0: the new first.weight is not finite")


X, Y = data(5)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:, 0], r"x: should be floats \(N, 1, 2, 3\), not float32 \(5, 2, 3\)"),
        (np.float32(1), r"x: should be floats \(N, 1, 2, 3\), not float32 \(\)"),
        (X.astype(np.uint8), r"x: should be floats \(N, 1, 2, 3\), not uint8"),
        (X.astype(complex), "not complex128"),
        (X.astype(object), "not object"),
        (np.where(X > 1, np.nan, X), r"x: has values that are not finite"),
        (np.where(X > 1, np.inf, X), r"x: has values that are not finite"),
        (np.where(X > 1, 1e300, X.astype(float)), r"x: has values that are not finite"),
        (X[:0], "x: has no samples"),
    ],
)
def test_samples_that_do_not_fit_are_refused(make_learner, states, x, message):
    learner = make_learner()
    y = Y[: len(x)] if x.ndim else Y
    before = states(learner)
    for act in (
        lambda: learner.step(x, y),
        lambda: learner.learn(x, y, epochs=1),
        lambda: learner.scores(x),
        lambda: learner.evaluate(x, y),
    ):
        with pytest.raises(EdgeError, match=message):
            act()
    assert learner.progress.steps == 0
    assert all(np.array_equal(array, before[name]) for name, array in states(learner).items())


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y[:4], "x has 5 samples, but y has 4 targets"),
        (Y.astype(float), r"y: should be integers \(5,\), not float64 \(5,\)"),
        (Y[:, None], r"y: should be integers \(5,\), not int64 \(5, 1\)"),
        (np.array(["a"] * 5), "y: should be integers"),
        (Y - 1, r"y: classes should be 0 … 2, not -1 … "),
        (np.full(5, K), r"y: classes should be 0 … 2, not 3 … 3"),
        (None, r"y: should be integers \(5,\), not object"),
    ],
)
def test_classes_that_do_not_fit_are_refused(make_learner, y, message):
    learner = make_learner()
    for act in (
        lambda: learner.step(X, y),
        lambda: learner.learn(X, y, epochs=1),
        lambda: learner.evaluate(X, y),
    ):
        with pytest.raises(EdgeError, match=message):
            act()
    assert learner.progress.steps == 0


@pytest.mark.parametrize(
    ("target", "y", "message"),
    [
        ("labels", np.full((5, K), 0.5), "labels should be 0 or 1"),
        ("labels", Y, r"y: should be zeros and ones \(5, 3\), not int64 \(5,\)"),
        ("values", np.full((5, K), np.nan), "y: has values that are not finite"),
        ("values", np.zeros((5, K), np.int64), r"y: should be floats \(5, 3\), not int64"),
        ("none", Y, "has no targets, so there is nothing to evaluate"),
    ],
)
def test_labels_and_values_that_do_not_fit_are_refused(make_bundle, target, y, message):
    learner = Learner(load(make_bundle(target=target, golden=None)))
    with pytest.raises(EdgeError, match=message):
        learner.evaluate(X, y)


def test_bad_samples_late_in_a_data_set_are_found_before_learning(make_learner):
    learner = make_learner()
    x, y = data(3000)
    x[2999, 0, 1, 2] = np.nan
    with pytest.raises(EdgeError, match="not finite"):
        learner.learn(x, y, epochs=1)
    assert learner.progress.steps == 0


@pytest.mark.parametrize(
    "how", [{"epochs": 0}, {"epochs": 1.5}, {"epochs": 1, "batch_size": 0}, {"epochs": True}]
)
def test_epochs_and_batch_size_below_one_are_refused(make_learner, how):
    with pytest.raises(EdgeError, match=r"(epochs|batch_size): should be an integer of at least 1, not "):
        make_learner().learn(X, Y, **how)


def test_threads_below_one_are_refused(make_bundle):
    with pytest.raises(EdgeError, match="threads: should be an integer of at least 1, not 0"):
        load(make_bundle(), threads=0)


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_seeds_that_are_not_positive_integers_are_refused(make_learner, seed):
    with pytest.raises(EdgeError, match="seed: should be an integer of at least 0, not "):
        make_learner(seed)


def test_states_that_are_not_there_are_refused(make_learner):
    learner = make_learner()
    with pytest.raises(EdgeError, match=r"has no state 'w'; it has first.weight, out.weight, out.bias"):
        learner.value("w")
    with pytest.raises(EdgeError, match="has no state 'w'"):
        learner.replace("w", np.zeros(3))
    with pytest.raises(EdgeError, match=r"out.bias: should have the shape \(3,\), not \(4,\)"):
        learner.replace("out.bias", np.zeros(4))
