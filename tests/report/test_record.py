from __future__ import annotations

from pathlib import Path

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
