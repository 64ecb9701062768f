"""Functions, scikit-learn, ONNX and crossbars."""

import copy
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ffcore.errors import RunError, UserError
from ffcore.interfaces import Context
from ffcore.local import BoxStage
from ffcore.tasks import MultiLabel, TokenClassification
from ffcore.trust import trusting
from ffcore_blackbox import onnx
from ffcore_blackbox.callables import ArrayFunction, Function
from ffcore_blackbox.crossbar import Crossbar
from ffcore_blackbox.estimator import Estimator
from ffcore_blackbox.targets import refuse_missing


def rows(n=60, d=8, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_functions_are_called_with_tensors_and_with_arrays():
    seen = []
    assert BoxStage(ArrayFunction(lambda x: x.__iadd__(1)))(rows().bfloat16()).dtype == torch.bfloat16
    Function(lambda x: seen.append(type(x)))(rows())
    ArrayFunction(lambda x: seen.append(type(x)))(rows())
    assert seen == [torch.Tensor, np.ndarray]


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("torch", "should be module:function"),
        ("__main__:no_such_name", "the program that runs has no 'no_such_name'"),
        ("no_such_module:f", "there is no module 'no_such_module'"),
        ("json.decoder:no_such_name", "module 'json.decoder' has no 'no_such_name'"),
    ],
)
def test_a_target_that_is_not_there_is_refused_without_importing(target, complaint):
    with pytest.raises(ValueError, match=complaint):
        refuse_missing(target)


def test_a_target_is_checked_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "loud"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "inner.py").write_text("if True:\n    def f(x): return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert refuse_missing("loud.inner:f") == "loud.inner:f"


def test_a_transformer_is_fitted_to_what_comes_in():
    box = Estimator("PCA", {"n_components": 3})
    box.setup(Context((8,), 2))
    box.fit([rows(), rows(seed=1)])
    both = torch.cat([rows(), rows(seed=1)]).numpy()
    right = PCA(3, random_state=0).fit(both).transform(both[:5])
    np.testing.assert_allclose(BoxStage(box)(rows()[:5]).numpy(), right, atol=1e-5)


def test_a_sparse_code_becomes_dense_and_keeps_its_width_when_it_is_fitted():
    box = Estimator("RandomTreesEmbedding", {"n_estimators": 4, "max_depth": 3})
    box.setup(Context((8,), 2))
    before = BoxStage(box)(rows())
    box.fit([rows()[:9]])  # so few rows make fewer leaves
    after = BoxStage(box)(rows())
    assert before.shape == after.shape
    assert (after.sum(1) == 4).all()


def labelled(n=60, seed=0):
    y = torch.arange(n) % 3
    return rows(n, seed=seed) + 2 * torch.nn.functional.one_hot(y, 8), y


def test_an_estimator_that_needs_targets_is_fitted_to_samples_and_their_classes():
    box = Estimator("LinearDiscriminantAnalysis", {"n_components": 2})
    assert box.reads_targets
    assert not Estimator("PCA").reads_targets
    box.setup(Context((8,), 3))
    box.fit([labelled(), labelled(seed=1)])
    x, y = (torch.cat(each).numpy() for each in zip(labelled(), labelled(seed=1), strict=True))
    right = LinearDiscriminantAnalysis(n_components=2).fit(x, y).transform(x[:5])
    np.testing.assert_allclose(box(torch.tensor(x[:5])).numpy(), right, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["RandomForestClassifier", "GradientBoostingClassifier", "ExtraTreesRegressor"]
)
def test_leaves_of_a_forest_are_a_code_with_one_leaf_a_tree(name):
    box = Estimator(name, {"n_estimators": 4, "max_depth": 3}, method="leaves")
    box.setup(Context((8,), 3))
    x, y = labelled()
    before = BoxStage(box)(x)
    box.fit([(x, y)])
    code = BoxStage(box)(x)
    trees = code.shape[1] // 8
    assert code.shape == before.shape
    assert trees == (12 if name.startswith("Gradient") else 4)
    assert torch.equal(code.view(60, trees, 8).sum(2), torch.ones(60, trees))
    nodes = torch.tensor(box.model.apply(x.numpy()).reshape(60, trees))
    same = code.view(60, trees, 8).argmax(2)
    for t in range(trees):
        assert torch.equal(nodes[:, t, None] == nodes[:, t], same[:, t, None] == same[:, t])


def test_probabilities_keep_the_columns_of_classes_that_a_fit_has_not_seen():
    box = Estimator("GaussianNB")
    box.setup(Context((8,), 3))
    x, y = labelled()
    box.fit([(x[y != 1], y[y != 1])])
    made = box(x)
    assert made.shape == (60, 3)
    assert (made[:, 1] == 0).all()
    assert (made.argmax(1) == y)[y != 1].float().mean() > 0.9


def test_its_state_is_bytes_that_make_another_one_equal():
    one, other = (Estimator("PCA", {"n_components": 3}) for _ in range(2))
    for box in (one, other):
        box.setup(Context((8,), 2))
    one.fit([rows()])
    with trusting():
        other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other(rows()), one(rows()), rtol=0, atol=0)
    assert all(isinstance(value, torch.Tensor) for value in one.state_dict().values())


def test_a_fitted_one_is_loaded_and_not_fitted_again(tmp_path):
    model = PCA(2, random_state=0).fit(rows(seed=3).numpy())
    joblib.dump(model, tmp_path / "pca.joblib")
    box = Estimator(path=str(tmp_path / "pca.joblib"))
    box.setup(Context((8,), 2))
    box.fit([rows()])
    np.testing.assert_allclose(box(rows()).numpy(), model.transform(rows().numpy()), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Estimator("Nonsense"), "'Nonsense' is not an estimator of scikit-learn"),
        (lambda: Estimator("PCA", method="leaves"), "method: PCA has no leaves"),
        (
            lambda: Estimator("RandomForestClassifier", method="leaves").setup(Context((8,), 2)),
            "leaves: set max_depth or max_leaf_nodes",
        ),
        (
            lambda: Estimator("LinearDiscriminantAnalysis").setup(
                Context((8,), 2, task=TokenClassification(2))
            ),
            "one target a sample, but the task has one a position",
        ),
        (lambda: Estimator("PCA", {"components": 2}), "options: .*'components'"),
        (lambda: Estimator(path="nowhere.joblib"), "path: there is no file 'nowhere.joblib'"),
        (
            lambda: Estimator("PCA", {"n_components": 20}).setup(Context((8,), 2)),
            "PCA does not accept 8 features",
        ),
    ],
)
def test_a_transformer_that_cannot_be_is_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_an_onnx_model_is_run(tmp_path):
    pytest.importorskip("onnxruntime")
    box = onnx.Onnx(str(Path(onnx.__file__).with_name("relu.onnx")))
    box.setup(Context((8,), 2))
    torch.testing.assert_close(BoxStage(box)(rows()), rows().relu())
    torch.testing.assert_close(BoxStage(box)(rows().double()), rows().double().relu())
    box.close()
    torch.testing.assert_close(BoxStage(copy.deepcopy(box))(rows()), rows().relu())
    with pytest.raises(ValueError, match=r"expects samples of shape \('features',\), but they have \(2, 4\)"):
        box.setup(Context((2, 4), 2))
    model = str(Path(onnx.__file__).with_name("relu.onnx"))
    assert torch.equal(onnx.Onnx(model, output=box.outputs[0])(rows()), rows().relu())
    with pytest.raises(ValueError, match=f"no output 'labels'; known: {box.outputs[0]}"):
        onnx.Onnx(model, output="labels")
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="is not an ONNX model"):
        onnx.Onnx(str(tmp_path / "broken.onnx"))


def test_a_missing_package_is_reported_with_its_installation(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"pip install ffcore\[onnx\]"):
        onnx.Onnx(str(Path(onnx.__file__).with_name("relu.onnx")))


def crossbar(**options):
    exact = {"noise": 0.0, "dead": 0.0, "saturation": None, "bits": None}
    return Crossbar((8,), 5, **{**exact, **options})


def test_all_devices_are_meant_to_have_the_same_weights_and_each_has_its_own_faults():
    torch.testing.assert_close(crossbar(device=0)(rows()), crossbar(device=1)(rows()))
    one, same, other = (crossbar(device=d, noise=0.2)(rows()) for d in (0, 0, 1))
    torch.testing.assert_close(one, same, rtol=0, atol=0)
    assert (one - other).abs().max() > 0.1


def test_a_crossbar_drifts_dies_saturates_and_rounds():
    exact = crossbar().weight
    drifted = crossbar(hours=100.0).weight
    assert 0.6 < float(drifted.abs().sum() / exact.abs().sum()) < 0.95
    dead = Crossbar((100,), 50, noise=0.0, dead=0.3).weight
    assert 0.25 < float((dead == 0).float().mean()) < 0.35
    coded = crossbar(saturation=1.0, bits=2)(rows())
    assert set(coded.unique().mul(3).round().tolist()) == {-3, -1, 1, 3}


def test_a_converter_needs_a_range():
    with pytest.raises(ValueError, match="saturation: a converter needs a range"):
        crossbar(bits=4)


def test_errors_of_options_come_with_the_recipes_path(tmp_path):
    from ffcore.recipe.load import load

    (tmp_path / "r.yaml").write_text(
        "name: r\ndata: digits\nalgorithm: forward-forward\nnetwork:\n  - {kind: dense, units: 8}\n"
        "  - {kind: blackbox, box: {kind: function, target: 'nowhere:f'}}\n"
    )
    with pytest.raises(UserError, match=r"r.yaml:6.*network.1.box.target: .*there is no module 'nowhere'"):
        load(str(tmp_path / "r.yaml"))


def test_an_online_estimator_learns_from_every_batch():
    box = Estimator("SGDClassifier", {"loss": "log_loss"}, online=True)
    assert box.observes
    assert not Estimator("PCA").observes
    box.setup(Context((8,), 3))
    x, y = labelled()
    box.fit([(x, y)])
    before = box(x)
    for _ in range(20):
        box.observe(x, y)
    assert not torch.equal(before, box(x))
    assert (box(x).argmax(1) == y).float().mean() > 0.9
    box.observe(x[:2], y[:2])  # a batch need not have all classes
    clusters = Estimator("MiniBatchKMeans", {"n_clusters": 3}, online=True)
    clusters.setup(Context((8,), 3))
    clusters.observe(x, None)
    with pytest.raises(ValueError, match="online: PCA has no partial_fit"):
        Estimator("PCA", online=True)


def test_several_onnx_outputs_are_joined(monkeypatch):
    pytest.importorskip("onnxruntime")
    box = onnx.Onnx(str(Path(onnx.__file__).with_name("relu.onnx")))

    class Session:
        """Answers as a classifier: labels, then probabilities."""

        def run(self, outputs, inputs):
            assert outputs == ["label", "probabilities"]
            return [np.arange(60), np.full((60, 2, 2), 0.25, np.float32)]

    monkeypatch.setattr(box, "_session", Session())
    box.outputs = ["label", "probabilities"]
    made = BoxStage(box)(rows())
    assert made.shape == (60, 5)
    assert torch.equal(made[:, 0], torch.arange(60.0))
    with pytest.raises(ValueError, match="output: is empty"):
        onnx.Onnx(box.path, output=[])


def test_an_onnx_output_that_is_no_array_is_named(monkeypatch):
    pytest.importorskip("onnxruntime")
    box = onnx.Onnx(str(Path(onnx.__file__).with_name("relu.onnx")))

    class Session:
        """Answers as a classifier with ZipMap."""

        def run(self, outputs, inputs):
            return [[{0: 0.5, 1: 0.5}]]

    monkeypatch.setattr(box, "_session", Session())
    with pytest.raises(RunError, match=r"output .* is a list, not an array; .* without ZipMap"):
        BoxStage(box)(rows())


def test_probabilities_of_several_labels_have_a_column_each_and_rows_apart():
    box = Estimator("RandomForestClassifier", {"n_estimators": 20})
    box.setup(Context((8,), 3, task=MultiLabel(3)))
    x = rows()
    y = (x[:, :3] > 0).long()
    y[:, 2] = 0  # a label that the fit has not seen
    box.fit([(x, y)])
    made = box(x)
    assert made.shape == (60, 3)
    assert ((made[:, :2] > 0.5) == y[:, :2].bool()).float().mean() > 0.95
    assert (made[:, 2] == 0).all()
    torch.testing.assert_close(torch.cat([box(row) for row in x.split(7)]), made)


def test_decision_functions_of_two_known_classes_keep_their_columns():
    box = Estimator("SGDClassifier", method="decision_function")
    box.setup(Context((8,), 3))
    x, y = labelled()
    box.fit([(x[y != 1], y[y != 1])])
    made = box(x)
    assert torch.equal(made[:, 0], -made[:, 2])
    assert (made[:, 1] == 0).all()
    assert ((made[:, 2] > 0) == (y == 2))[y != 1].float().mean() > 0.9


def test_a_loaded_classifier_has_the_columns_of_its_own_classes(tmp_path):
    x, y = labelled()
    model = LinearDiscriminantAnalysis().fit(x, np.array(["b", "a", "c"])[y])
    joblib.dump(model, tmp_path / "model.joblib")
    box = Estimator(path=str(tmp_path / "model.joblib"), method="predict_proba")
    box.setup(Context((8,), 4))
    np.testing.assert_allclose(box(x).numpy(), model.predict_proba(x.numpy()), atol=1e-6)


def test_an_online_classifier_knows_all_classes_from_the_start(tmp_path):
    box = Estimator("SGDClassifier", {"loss": "log_loss"}, online=True)
    box.setup(Context((8,), 3))
    x, y = labelled()
    box.fit([(x[y != 1], y[y != 1])])
    for _ in range(30):
        box.observe(x, y)
    assert (box(x).argmax(1) == y).float().mean() > 0.9
    joblib.dump(box.model, tmp_path / "model.joblib")
    loaded = Estimator(path=str(tmp_path / "model.joblib"), online=True)
    assert loaded.reads_targets
    loaded.setup(Context((8,), 3))
    loaded.observe(x, y)
