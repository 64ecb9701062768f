"""Results by attribute and by key, as returned and as read from a file."""

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from ffcore.errors import UserError
from ffcore.run.finished import Run
from ffcore.run.results import Accuracies, Block, Results

KEPT = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*-1.json"))


@pytest.fixture
def content(finished):
    return json.loads((finished.path / "results.json").read_text())


def test_attributes_and_keys_give_the_same_results(finished, content):
    results = finished.results
    assert results.test.accuracy == results["test"]["accuracy"] == content["test"]["accuracy"]
    assert results.val.per_block_accuracy == results["val"]["per_block_accuracy"]
    assert (results.recipe, results.seed, results.epochs) == ("digits/ff", 1, 2)
    assert (results.steps, results.parameters) == (content["steps"], content["parameters"])
    assert results.wall_s >= results.train_s > 0
    assert [block.name for block in results.blocks] == list(results.test.per_block_accuracy)
    assert results["blocks"][0]["name"] == results.blocks[0].name
    assert results.data.shape == (1, 8, 8)
    assert results.data.test == sum(map(sum, results.test.confusion)) == 360
    assert results.paper is None


def test_reading_the_directory_or_the_file_gives_the_results_of_the_run(finished, content):
    for path in (finished.path, str(finished.path), finished.path / "results.json"):
        again = Results.read(path)
        assert again == finished.results == content
        assert again.test == finished.results.test
        assert isinstance(again, Mapping)


def test_they_are_json_pickle_and_copy_safe(finished, content):
    assert json.loads(json.dumps(finished.results)) == content
    for twin in (pickle.loads(pickle.dumps(finished.results)), copy.deepcopy(finished.results)):
        assert twin == finished.results
        assert twin.test.accuracy == finished.results.test.accuracy


def test_they_are_read_only(finished):
    results = finished.results
    for change in (
        lambda: results.__setitem__("seed", 3),
        lambda: results["test"].update(accuracy=1.0),
        lambda: results.pop("seed"),
        results["blocks"][0].clear,
    ):
        with pytest.raises(TypeError, match="read-only"):
            change()
    with pytest.raises(AttributeError):
        results.seed = 3
    assert results.seed == results["seed"] == 1
    assert dict(results) | {"seed": 3} != results


def test_measures_are_the_metrics_of_the_algorithm(content):
    content["test"]["reconstruction"] = 0.5
    content["val"] = None
    results = Results(content)
    assert results.test.measures == {"reconstruction": 0.5}
    assert results.val is None


def test_unknown_keys_are_kept_and_optional_keys_may_be_missing(content):
    content["of tomorrow"] = [1]
    for key in ("ranks", "peak_memory", "blocks", "paper"):
        del content[key]
    results = Results(content)
    assert results["of tomorrow"] == [1]
    assert (results.ranks, results.peak_memory, results.blocks, results.paper) == (1, None, (), None)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("steps", ..., "'steps' is missing"),
        ("seed", "many", "seed: "),
        ("test", {"accuracy": 1}, "test: 'error' is missing"),
        ("test", None, "test: "),
        ("blocks", [{"shape": [3]}], "blocks.0: 'name' is missing"),
    ],
    ids=str,
)
def test_damaged_results_are_named(content, tmp_path, key, value, expected):
    content[key] = value
    if value is ...:
        del content[key]
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"not the results of a run: {expected}") as found:
        Results.read(tmp_path)
    assert "\n" not in str(found.value)


def test_a_directory_without_results_raises_with_the_reason(tmp_path):
    with pytest.raises(UserError, match=r"the run directory .* does not exist"):
        Results.read(tmp_path / "gone")
    with pytest.raises(UserError, match="not a run directory"):
        Results.read(tmp_path)
    (tmp_path / "summary.json").touch()
    with pytest.raises(UserError, match="is the directory of a sweep"):
        Results.read(tmp_path)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(UserError, match="is not finished"):
        Results.read(tmp_path)


@pytest.mark.parametrize("file", KEPT, ids=lambda path: path.stem)
def test_results_in_the_documentation_are_read(file):
    results = Results.read(file)
    if results.task is None:
        assert 0 < results.test.accuracy <= 1
    else:
        assert results.test.measures[results.task["headline"]] > 0
    assert all(isinstance(block, Block) for block in results.blocks)


def test_reading_needs_no_torch(finished):
    code = (
        "import sys; from ffcore.run.results import Results; "
        f"assert Results.read({str(finished.path)!r}).epochs == 2; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_attributes_are_typed():
    kinds = get_type_hints(Results)
    assert (kinds["test"], kinds["val"]) == (Accuracies, Accuracies | None)
    assert get_type_hints(Accuracies)["accuracy"] is float
    assert get_type_hints(Run)["results"] is Results
    assert Any not in kinds.values()
