import json

import numpy as np
import pytest

import ffcore
from ffcore.data.huggingface import HuggingFace
from ffcore.errors import UserError
from ffcore.run.evaluate import evaluate
from ffcore.run.predictions import predictions

datasets = pytest.importorskip("datasets")
datasets.disable_progress_bars()


def saved(path, columns, features=None):
    made = {
        name: datasets.Dataset.from_dict(
            split, features=None if features is None else datasets.Features(features)
        )
        for name, split in columns.items()
    }
    datasets.DatasetDict(made).save_to_disk(path)
    return path


LABEL = {
    "a": datasets.Value("float32"),
    "b": datasets.Value("int64"),
    "y": datasets.ClassLabel(names=["no", "yes"]),
}


def rows(n=10):
    return {"a": [i / 2 for i in range(n)], "b": list(range(n)), "y": [i % 2 for i in range(n)]}


def test_columns_of_numbers_become_a_row_and_class_labels_have_names(tmp_path):
    path = saved(tmp_path / "set", {"train": rows(), "validation": rows(4), "test": rows(6)}, LABEL)
    made = HuggingFace(path, ["a", "b"], "y").load()
    assert made.classes == ("no", "yes")
    assert [len(split) for split in (made.train, made.val, made.test)] == [10, 4, 6]
    assert made.train.x[3].tolist() == [1.5, 3.0]
    assert len(made.provenance) == 3


def test_texts_become_padded_bytes(tmp_path):
    text = {"text": ["ab", "ä", "abc", "b"] * 3, "y": ["x", "y"] * 6}
    made = HuggingFace(saved(tmp_path / "set", {"train": text, "test": text}), "text", "y", length=2).load()
    assert made.train.x[:4].tolist() == [[98, 99], [196, 165], [98, 99], [99, 0]]
    assert made.classes == ("x", "y")


def test_targets_of_padded_tokens_are_ignored(tmp_path):
    part = {"ids": [[5, 6, 7], [8]] * 5, "tags": [[0, 1, 0], [1]] * 5}
    path = saved(tmp_path / "set", {"train": part, "test": part})
    made = HuggingFace(path, "ids", "tags", task={"kind": "token-classification", "classes": 2}).load()
    assert made.train.x[1].tolist() == [8, 0, 0]
    assert made.train.y[1].tolist() == [1, -100, -100]


def test_images_keep_their_bytes(tmp_path):
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    part = {"image": [image] * 6, "y": [0, 1] * 3}
    features = {"image": datasets.Image(), "y": datasets.Value("int64")}
    made = HuggingFace(saved(tmp_path / "set", {"train": part, "test": part}, features), "image", "y").load()
    assert np.array_equal(made.train.x[0], image.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"x": [1.0, 2.0], "y": [0, 1]}, {"inputs": "z", "target": "y"}, "there is no column 'z'"),
        ({"x": [[1], []], "y": [0, 1]}, {"inputs": "x", "target": "y"}, "column 'x': row 1 has no tokens"),
        ({"x": [1.0, None], "y": [0, 1]}, {"inputs": "x", "target": "y"}, "row 1 of column 'x' is empty"),
        ({"x": [[1.0], [1.0, 2.0]], "y": [0, 1]}, {"inputs": "x", "target": "y"}, "have different shapes"),
        ({"x": [1.0, 2.0], "y": [0.5, 1]}, {"inputs": "x", "target": "y"}, "set data.task"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path, columns, options, message):
    path = saved(tmp_path / "set", {"train": columns, "test": columns})
    with pytest.raises(UserError, match=message):
        HuggingFace(path, **options).load()


def test_a_class_only_in_the_test_split_is_refused(tmp_path):
    train, test = {"x": [1.0, 2.0], "y": ["a", "b"]}, {"x": [1.0], "y": ["c"]}
    with pytest.raises(UserError, match="the class 'c' of sample 0 does not occur in train"):
        HuggingFace(saved(tmp_path / "set", {"train": train, "test": test}), "x", "y").load()


def test_other_directories_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no such directory; set data\.path"):
        HuggingFace(tmp_path / "none", "x", "y").load()
    with pytest.raises(UserError, match="not a data set of save_to_disk"):
        HuggingFace(tmp_path, "x", "y").load()


def test_a_recipe_learns_from_texts_of_different_lengths(tmp_path):
    words = ["good day", "good", "very good", "bad day", "bad", "very bad luck"]
    text = {"text": words * 20, "y": ["up", "up", "up", "down", "down", "down"] * 20}
    path = saved(tmp_path / "set", {"train": text, "test": text})
    recipe = {
        "name": "words",
        "data": {"kind": "huggingface", "path": str(path), "inputs": "text", "target": "y", "batch_size": 20},
        "algorithm": {"kind": "local-errors", "output": False},
        "network": [
            {"kind": "embedding", "units": 16, "tokens": 257, "padding": 0},
            {"kind": "attention", "heads": 2, "padding": True},
        ],
        "block": {
            "goodness": {"kind": "linear-head", "dim": -1, "padding": True},
            "objective": "cross-entropy",
        },
        "optimizer": {"kind": "adam", "lr": 0.01},
        "contribution": "last",
        "trainer": {"max_epochs": 6, "threads": 1},
    }
    (tmp_path / "words.yaml").write_text(json.dumps(recipe))
    run = ffcore.train(tmp_path / "words.yaml", run_dir=tmp_path / "run")
    assert run.results["test"]["accuracy"] > 0.9

    (tmp_path / "new.txt").write_text("good day\nbad, a text longer than all others\n", encoding="utf-8")
    made = predictions(run.path, tmp_path / "new.txt")
    assert [made.classes[k] for k in made.values] == ["up", "down"]
    assert run.predictor().predict(["good day"]).tolist() == made.values[:1].tolist()
    (tmp_path / "new.csv").write_text("id,text\n1,good day\n2,bad\n", encoding="utf-8")
    assert predictions(run.path, tmp_path / "new.csv").values.tolist() == made.values.tolist()

    other = {"text": ["very good", "bad, a text longer than all others"] * 9, "label": [1, 0] * 9}
    features = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["down", "up"])}
    of_others = saved(tmp_path / "other", {"train": other}, features)
    more = (f"data.path={of_others}", "data.target=label")
    assert evaluate(run.path, "all", more) | {"measures": 0} == {
        **{"split": "all", "samples": 18, "accuracy": 1.0, "error": 0.0, "measures": 0},
        "per_block_accuracy": {"embedding1": 1.0, "attention1": 1.0},
    }
