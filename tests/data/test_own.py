"""Tables, texts, and what a function of the user returns."""

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import ffcore
from ffcore.data.given import Held
from ffcore.data.images import Split
from ffcore.data.python import PythonData
from ffcore.data.task_arrays import TaskArrays
from ffcore.data.text import Text
from ffcore.errors import UserError
from ffcore.tasks import Classification, MultiLabel, Regression, TokenClassification, Unsupervised
from ffcore_sequence.bodies import Embedding

pandas = pytest.importorskip("pandas", reason="an optional part")
from ffcore.data.table import Table  # noqa: E402

X, Y = np.arange(40, dtype=np.float64).reshape(10, 4), np.arange(10) % 2


def tensors():
    return TensorDataset(torch.tensor(X), torch.tensor(Y))


class Module(L.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(tensors(), batch_size=3)

    def test_dataloader(self):
        return DataLoader(tensors(), batch_size=4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (X, Y),
        lambda: {"train": (X, Y), "test": (torch.tensor(X), torch.tensor(Y))},
        lambda: {"train": tensors(), "test": DataLoader(tensors(), batch_size=3)},
        Module,
    ],
    ids=["a pair", "a mapping of pairs", "data sets and loaders", "a data module"],
)
def test_a_function_may_return_anything_that_holds_samples(make):
    loaded = PythonData(make).load()
    assert loaded.classes == ("0", "1")
    assert loaded.train.x.dtype == np.float32
    assert len(loaded.test) == (2 if make() is not None and isinstance(make(), tuple) else 10)
    assert loaded.task is None


def test_predictors_take_and_return_stored_values(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)) * [1, 100, 0.01] + [0, 1000, 5]
    y = 1e4 * ((x - x.mean(0)) / x.std(0) @ np.array([1.0, -2.0, 0.5])) + 1e6
    run = ffcore.train(
        "tables/diabetes-regression",
        run_dir=tmp_path / "run",
        report=False,
        data=PythonData(lambda: (x, y), task=Regression(1), scale="all"),
    )
    assert run.results.test.measures["r2"] > 0.95
    assert 10 < run.results.test.measures["mae"] < 1e4
    made = run.predictor().predict(x)[:, 0]
    assert 1 - ((made - y) ** 2).mean() / y.var() > 0.95
    assert ffcore.evaluate(run.path, (x, y)).measures["r2"] > 0.95
    assert "test r2" in repr(run)
    assert "test r2 of " in repr(run)


def test_tokens_and_several_inputs_keep_their_types():
    tokens, mask = np.arange(20).reshape(10, 2), np.ones((10, 2), dtype=bool)
    data = PythonData(lambda: ((tokens, mask), Y)).load()
    assert data.dtype == ("int64", "bool")
    assert data.shape == ((2,), (2,))
    data = PythonData(lambda: ({"tokens": tokens}, np.zeros((10, 2))), task=MultiLabel(2)).load()
    assert data.shape == {"tokens": (2,)}


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: 1 / 0, {}, "raised ZeroDivisionError"),
        (lambda: {"test": (X, Y)}, {}, "no training split"),
        (lambda: (X, Y / 2), {}, "set data.task"),
        (lambda: (X, Y[:5]), {}, "one for each sample is needed"),
        (lambda: (X, Y), {"task": Regression(2)}, "should be floats"),
        (lambda: (X, np.full(10, np.nan)), {"task": Regression(1)}, "not finite"),
        (lambda: (np.array([["a"]] * 10), Y), {}, "floats, bytes or integers"),
        (lambda: (X, np.array(["a"] * 10)), {"task": Regression(1)}, "should be real numbers"),
        (lambda: [(torch.zeros(i), 0) for i in range(3)], {}, "split'|pair|numbers"),
        (lambda: {"train": (X, Y), "val": (X, Y + 1)}, {}, "a class of the other splits is 2"),
        (lambda: (X.reshape(10, 2, 2), Y), {"scale": "inputs"}, "not rows of features"),
    ],
)
def test_what_does_not_fit_is_refused(make, options, message):
    with pytest.raises(UserError, match=message):
        PythonData(make, **options).load()


def test_windows_of_training_and_test_text_do_not_overlap(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(chr(97 + i % 26) for i in range(1000)), encoding="utf-8")
    data = Text(str(path), length=10, stride=5).load()
    assert isinstance(data.task, TokenClassification)
    assert len(data.classes) == 26
    assert (data.train.y[:, :-1] == data.train.x[:, 1:]).all()
    assert data.train.x[1].tolist() == list(range(5, 15))
    assert len(data.train) == (800 - 10 + 4) // 5  # the others are those of validation and test
    assert len(data.val) == 9
    assert len(data.test) == 9  # the last of a window's tokens has no next one
    assert Text(str(path), tokens="bytes").load().task.columns == 256


def test_the_text_that_is_shipped_is_ascii():
    data = Text().load()
    assert 50 < len(data.classes) < 80
    assert data.train.x.max() < 128
    assert list(data.provenance) == ["documents.txt"]


def test_a_text_that_is_too_short_is_refused(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("short", encoding="utf-8")
    with pytest.raises(UserError, match="too few"):
        Text(str(path)).load()
    path.write_bytes(b"\xff" * 1000)
    with pytest.raises(UserError, match="not in UTF-8; use tokens: bytes"):
        Text(str(path)).load()


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


ROWS = "age,city,kind\n" + "".join(f"{20 + i},{'ab'[i % 2]},{'xyz'[i % 3]}\n" for i in range(30))


def test_text_columns_become_one_input_for_each_value(table):
    data = Table(table(ROWS), "kind", scale="none").load()
    assert data.classes == ("x", "y", "z")
    assert data.shape == (3,)
    assert set(np.unique(data.train.x[:, 1:]).tolist()) == {0.0, 1.0}
    torch.testing.assert_close(data.train.x[:, 1:].sum(1), np.ones(24, np.float32))


def test_numbers_and_labels_may_be_several_columns(table):
    rows = "a,b,c\n" + "".join(f"{i},{i % 2},{(i // 2) % 2}\n" for i in range(20))
    data = Table(table(rows), ["b", "c"], task="regression").load()
    assert data.task.columns == 2
    data = Table(table(rows), ["b", "c"], task="multi-label").load()
    assert data.classes == ("b", "c")
    assert data.train.y.dtype == np.int64


def test_empty_cells_are_an_error_or_replaced_or_dropped(table):
    rows = ROWS.replace("25,", ",")
    with pytest.raises(UserError, match="1 cells are empty, the first in row 6, column 'age'"):
        Table(table(rows), "kind").load()
    assert len(Table(table(rows), "kind", missing="drop").load().train) == 23
    kept = Table(table(rows), "kind", missing="mean", scale="none").load()
    assert len(kept.train) + len(kept.test) == 30


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (ROWS, {"target": "kinds"}, "no column 'kinds'; did you mean 'kind'"),
        (ROWS, {"target": "kind", "columns": ["kind"]}, "is an input and a target"),
        (ROWS, {"target": "city", "task": "regression"}, "should be numbers"),
        ("a,b\n" + "1.5,2\n2.5,3\n" * 9, {"target": "a"}, "has fractions"),
        ("a,b\n" + "1,2\n" * 9, {"target": "a"}, "one class only"),
        ("", {"target": "a"}, "not a table"),
        (ROWS.replace(",", ";"), {"target": "kind"}, "has one column, 'age;city;kind'; cells"),
        (ROWS.replace("27,", "?,"), {"target": "kind"}, r"row 8, column 'age': '\?' is not a number"),
        ("a,b\n" + "1,2,0,5\n" * 9, {"target": "b"}, "rows have more cells than the header has names"),
        (ROWS, {}, "name the column of targets, or set task to none"),
        (ROWS, {"target": "kind", "task": "none"}, "the task none has no targets"),
    ],
)
def test_tables_that_do_not_fit_are_refused(table, text, options, message):
    with pytest.raises((UserError, ValueError), match=message):
        Table(table(text), **options).load()


def test_a_table_may_have_no_targets(table):
    data = Table(table(ROWS), task="none", columns=["age"]).load()
    assert isinstance(data.task, Unsupervised)
    assert data.train.y.shape == (24, 0)


class Items:
    """A data set of another library: a length and items, which are mappings."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return {"x": X[i], "y": int(Y[i])}


@pytest.mark.parametrize(
    "make", [Items, lambda: DataLoader(Items(), batch_size=3), lambda: (X.tolist(), Y.tolist())]
)
def test_mappings_and_lists_are_samples_too(make):
    loaded = PythonData(make).load()
    assert loaded.train.x.shape == (8, 4)
    assert sorted([*loaded.train.y, *loaded.test.y]) == sorted(Y.tolist())


def test_mappings_without_x_and_y_are_named():
    rows = [{"text": 1, "label": 0}] * 4
    with pytest.raises(UserError, match="mappings with x and y, not dict with text, label"):
        PythonData(lambda: DataLoader(rows, batch_size=2)).load()


def test_splits_without_samples_or_targets_are_refused():
    with pytest.raises(UserError, match="val: no samples"):
        PythonData(lambda: {"train": (X, Y), "val": (X[:0], Y[:0])}).load()
    tokens = np.zeros((4, 3), dtype=np.int64)
    parts = {"train": (tokens, tokens), "val": (tokens, tokens - 100), "test": (tokens, tokens)}
    with pytest.raises(UserError, match="validation: no position has a target: all are -100"):
        PythonData(lambda: parts, task=TokenClassification(2)).load()


@pytest.mark.parametrize(("token", "message"), [(-1, "run from -1 to"), (30, "run from 0 to 30")])
def test_tokens_outside_the_vocabulary_are_found_before_training(tmp_path, token, message):
    x = np.arange(40).reshape(10, 4) % 20
    x[3, 2] = token
    with pytest.raises(UserError, match=message):
        ffcore.train(
            "sequences/first-token",
            run_dir=tmp_path / "run",
            data=PythonData(lambda: (x, Y)),
            network=[{"kind": "embedding", "units": 8, "tokens": 20}],
        )
    assert not (tmp_path / "run").exists()


def test_bytes_as_tokens_are_not_scaled(tmp_path):
    x = (np.arange(80).reshape(20, 4) % 7).astype(np.uint8)
    y = x[:, 0].astype(int) % 2
    torch.manual_seed(0)
    head = {"kind": "linear-head", "dim": -1}
    block = ffcore.LocalBlock(Embedding((4,), 8, 7), head, objective="cross-entropy")
    net = ffcore.Network([block], "local-errors", example=torch.tensor(x[:2]).long(), classes=2)
    run = ffcore.fit(net, (x, y), epochs=1, run_dir=tmp_path / "run", report=False)
    scores = run.predictor().scores(x.astype(np.int64))
    assert len(np.unique(scores, axis=0)) > 1
    with pytest.raises(ValueError, match="bytes of a data set are scaled"):
        block.body(torch.tensor(x / 255))


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([1e6, 1], "targets of '0' have the standard deviation .*e.06, those of '1'"),
        ([500], "targets of '0' have the standard deviation"),
    ],
)
def test_targets_of_very_different_scale_are_warned_of(tmp_path, factors, message):
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    y = (x[:, : len(factors)] * factors).astype(np.float32)
    torch.manual_seed(0)
    block = ffcore.LocalBlock(torch.nn.Linear(3, 8), "linear-head", objective="squared-error")
    task = Regression(len(factors))
    net = ffcore.Network([block], "local-errors", example=torch.tensor(x[:2]), task=task)
    with pytest.warns(UserWarning, match=message):
        ffcore.fit(
            net, (x, y), epochs=1, run_dir=tmp_path / "run", report=False, lr_schedule=lambda a, b: 1e-9
        )


NAMES = np.array(["yes", "no"])[Y]


@pytest.mark.parametrize(
    "make",
    [
        lambda: (X, NAMES),
        lambda: (X, list(NAMES)),
        lambda: (X, pandas.Series(NAMES)),
        lambda: DataLoader([(x, str(y)) for x, y in zip(X, NAMES, strict=True)], batch_size=3),
    ],
    ids=["array", "list", "series", "loader"],
)
def test_classes_may_be_texts(make):
    loaded = PythonData(make).load()
    assert loaded.classes == ("no", "yes")
    assert sorted([*loaded.train.y, *loaded.test.y]) == [0] * 5 + [1] * 5


def test_texts_that_train_does_not_have_are_named():
    parts = {"train": (X, NAMES), "test": (X, np.where(NAMES == "no", "not", NAMES))}
    with pytest.raises(UserError, match="test: the class 'not' of sample 1 does not occur in train; did you"):
        PythonData(lambda: parts).load()


@pytest.mark.parametrize(
    ("y", "options", "columns"),
    [
        (NAMES, {}, 2),
        (X[:, :2] / 3, {"task": {"kind": "regression", "values": 2}, "scale": "all"}, 2),
        (X[:, :3] > 15, {"task": {"kind": "multi-label", "labels": 3}}, 3),
        (None, {"task": "none"}, 1),
    ],
    ids=["texts", "numbers", "labels", "nothing"],
)
def test_npz_files_hold_any_targets(tmp_path, y, options, columns):
    arrays = {"x_train": X} if y is None else {"x_train": X, "y_train": y}
    np.savez(tmp_path / "data.npz", **arrays)
    loaded = TaskArrays(tmp_path / "data.npz", **options).load()
    assert (loaded.name, loaded.num_classes, len(loaded.train), len(loaded.test)) == ("data", columns, 8, 2)
    assert list(loaded.provenance) == ["data.npz"]


def test_bytes_are_standardised_as_the_loader_scales_them(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (200, 5)).astype(np.uint8)
    y = x[:, :1].astype(np.float64)
    run = ffcore.train(
        "tables/diabetes-regression",
        run_dir=tmp_path / "run",
        data=PythonData(lambda: (x, y), task=Regression(1), scale="all"),
        report=False,
        **{"trainer.max_epochs": 1},
    )
    inputs = torch.cat([batch.x for batch in run.predictor().loader(x)])
    torch.testing.assert_close(inputs.mean(0), torch.zeros(5), atol=0.3, rtol=0)
    torch.testing.assert_close(inputs.std(0), torch.ones(5), atol=0.2, rtol=0)


def test_one_class_only_is_refused(tmp_path):
    one = Split(X.astype(np.float32), 0 * Y)
    data = Held(one, one, Classification(1))
    with pytest.raises(UserError, match="has one class only; classification needs at least 2 classes"):
        ffcore.train("digits/ff", run_dir=tmp_path / "run", data=data)
