from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ffcore.errors import UserError
from ffcore.report import RunRecord
from tests.report.conftest import FakeRun


def test_empty_cells_are_none_and_left_out_of_series(fake_run: FakeRun) -> None:
    run = RunRecord.read(fake_run(epochs=3))
    assert run.metrics["val_accuracy"][1] is None
    epochs, values = run.series("val_accuracy")
    assert epochs.tolist() == [1, 3]
    assert values == pytest.approx([0.5, 1 - 0.5 / 3])


def test_unknown_column_is_an_empty_series(fake_run: FakeRun) -> None:
    epochs, values = RunRecord.read(fake_run()).series("unknown/loss")
    assert len(epochs) == len(values) == 0


def test_blocks_are_read_from_the_metrics_if_missing_in_the_results(fake_run: FakeRun) -> None:
    assert RunRecord.read(fake_run(without=("blocks",))).blocks == ["dense1", "dense2"]


def test_get_returns_nested_values_or_none(fake_run: FakeRun) -> None:
    run = RunRecord.read(fake_run())
    assert run.get("split", "validation", "from") == "train"
    assert run.get("seed", "deeper") is None


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("results.json", b"{", "is not JSON"),
        ("results.json", b"[1]", "not a mapping"),
        ("config.yaml", b"a: [", "is not YAML"),
        ("metrics.csv", b"epoch,dense1/loss\n1,much\n", "line 2, dense1/loss"),
        ("arrays.npz", b"no zip", "cannot be read"),
    ],
)
def test_damaged_file_is_named(fake_run: FakeRun, file: str, content: bytes, message: str) -> None:
    run = fake_run()
    (run / file).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        RunRecord.read(run)
    assert file in str(caught.value)


def test_arrays_are_never_unpickled(fake_run: FakeRun) -> None:
    run = fake_run()
    np.savez(run / "arrays.npz", bad=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="cannot be read"):
        RunRecord.read(run)


def test_arrays_of_an_older_run_are_read(fake_run: FakeRun) -> None:
    run = fake_run()
    kept = RunRecord.read(run).arrays
    (run / "arrays.npz").rename(run / "figures.npz")
    assert kept.keys() == RunRecord.read(run).arrays.keys() != set()


def test_run_that_is_not_finished_raises(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: x\n")
    with pytest.raises(UserError, match="is not finished"):
        RunRecord.read(tmp_path)


def test_missing_directory_raises(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the run directory .* does not exist"):
        RunRecord.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("title", 3, "title: Input should be a valid string"),
        ("title", ["a"], "title: Input should be a valid string"),
        ("test.accuracy", "0.9", "test: accuracy: Input should be a valid number"),
        ("test.accuracy", 1.5, "test: accuracy: .* less than or equal to 1"),
        ("test.accuracy", True, "test: accuracy: Input should be a valid number"),
        ("test.confusion", [[1, 2], [3]], "confusion: its rows and columns should be the classes"),
        ("test.per_block_accuracy", [1], "per_block_accuracy: "),
        ("epochs", -1, "epochs: "),
        ("epochs", 10**400, "epochs: "),
        ("wall_s", 1e300, "wall_s: "),
        ("blocks", {"name": "a"}, "blocks: "),
        ("blocks", [["a"]], "blocks.0: "),
        ("data.classes", "abc", "classes: "),
        ("format", 99, "made by a newer version, in format 99"),
        ("versions", {"torch": 2}, "versions.torch: "),
        ("costs", {"phases": 3}, "costs: phases: Input should be a valid dictionary"),
        ("costs", {"phases": {"learning": {"seconds": "a"}}}, "costs: phases.learning: seconds: "),
    ],
)
def test_values_of_another_type_are_named(fake_run: FakeRun, path: str, value: Any, message: str) -> None:
    run = fake_run()
    results = json.loads((run / "results.json").read_text())
    *above, last = path.split(".")
    within = results
    for key in above:
        within = within[key]
    within[last] = value
    (run / "results.json").write_text(json.dumps(results))
    with pytest.raises(UserError, match=message) as raised:
        RunRecord.read(run)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(range(256)), "is not text in UTF-8"),
        ("epoch\n1\n".encode("utf-16"), "is not text in UTF-8"),
        (b'epoch\n"' + b"1" * 200_000 + b'"\n', "is not a table of metrics: field larger"),
        (b'epoch\n"1', "is not a table of metrics"),
        (b"epoch\n0x1\n", "line 2, epoch"),
        (b"<html>404</html>\n", "has no column 'epoch'"),
        (b"epoch,a\n1,2,3\n", "line 2: has more cells than columns"),
    ],
)
def test_metrics_that_are_no_table_are_refused(fake_run: FakeRun, content: bytes, message: str) -> None:
    run = fake_run()
    (run / "metrics.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"metrics\.csv.*{message}"):
        RunRecord.read(run)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("goodness/dense1/positive", np.zeros((2, 2)), "should have 1 axes"),
        ("examples/y", np.array(["a"]), "should be numbers"),
        ("history/epochs", np.array(1), "should have 1 axes"),
    ],
)
def test_arrays_of_another_shape_are_named(fake_run: FakeRun, name: str, array: Any, message: str) -> None:
    run = fake_run()
    np.savez(run / "arrays.npz", **{name: array})
    with pytest.raises(UserError, match=f"arrays.npz', {name}: {message}"):
        RunRecord.read(run)


@pytest.mark.parametrize("file", ["results.json", "metrics.csv", "arrays.npz", "config.yaml"])
@pytest.mark.parametrize("other", ["pipe", "directory"])
def test_pipes_and_directories_in_place_of_files_are_refused(
    fake_run: FakeRun, file: str, other: str
) -> None:
    run = fake_run()
    (run / file).unlink()
    os.mkfifo(run / file) if other == "pipe" else (run / file).mkdir()
    with pytest.raises(UserError, match=f"{file}: cannot be read: Is a"):
        RunRecord.read(run)
