from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ffcore.errors import UserError
from ffcore.report import RunRecord, compare, differences, names_of_runs, write_comparison
from tests.report.conftest import write_run


def record(
    path: Path, config: dict[str, Any] | None = None, results: Any = None, **options: Any
) -> RunRecord:
    write_run(path, **options)
    if config is not None:
        (path / "config.yaml").write_text(yaml.safe_dump(config))
    if results:
        kept = json.loads((path / "results.json").read_text())
        (path / "results.json").write_text(json.dumps(kept | results))
    return RunRecord.read(path)


def test_settings_that_differ_are_listed_by_path(tmp_path: Path) -> None:
    common = {"seed": 1, "name": "x", "network": [{"kind": "dense", "units": 500}], "data": {"augment": []}}
    other = common | {"name": "y", "network": [{"kind": "dense", "units": 2000}], "clip": None}
    runs = [record(tmp_path / "a", common), record(tmp_path / "b", other)]
    assert differences(runs) == {"network.0.units": ["500", "2000"], "clip": ["–", "null"]}


def test_run_without_a_recipe_is_not_compared(tmp_path: Path) -> None:
    runs = [record(tmp_path / name, {"seed": 1} if name != "c" else {}) for name in "abc"]
    assert differences(runs) == {}


def test_runs_have_unique_names(tmp_path: Path) -> None:
    a, b = record(tmp_path / "a"), record(tmp_path / "b", results={"recipe": "other"})
    seeded, same = record(tmp_path / "c", results={"seed": 4}), record(tmp_path / "d")
    assert names_of_runs([a, b]) == ["fake-ff", "other"]
    assert names_of_runs([a, seeded]) == ["fake-ff, seed 3", "fake-ff, seed 4"]
    assert names_of_runs([a, same]) == ["a", "d"]
    assert names_of_runs([a, a]) == ["a (1)", "a (2)"]


def test_comparison_has_every_run_in_one_picture_of_curves(tmp_path: Path, monkeypatch: Any) -> None:
    runs = [record(tmp_path / "a"), record(tmp_path / "b", results={"recipe": "other"}, goodness=False)]
    messages: list[str] = []
    text = write_comparison(runs, tmp_path / "out", complain=messages.append).read_text()
    assert messages == []
    assert {path.stem for path in (tmp_path / "out" / "pictures").iterdir()} == {
        "curves",
        "goodness",
        "confusion",
        "receptive",
    }
    assert "| fake-ff | " in text
    assert "| other | " in text
    assert "Hinton 2022" in text
    section = compare._curves(dict(zip(["one", "two"], runs, strict=True)))
    assert section is not None
    labels = [line.get_label() for line in section.pictures[0].figure.axes[0].lines]
    assert {"one", "two", "test, paper"} <= set(labels)
    assert "data:image/svg+xml" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.usefixtures("drawn_once")
def test_blocks_of_all_runs_are_in_one_table(tmp_path: Path) -> None:
    runs = [record(tmp_path / "a"), record(tmp_path / "b", results={"recipe": "other"}, blocks=3)]
    text = write_comparison(runs, tmp_path / "out").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| dense3 |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "–"
    assert cells[2].endswith("%")


def test_many_runs_with_few_results_can_be_compared(tmp_path: Path) -> None:
    runs = []
    for i in range(10):
        run = record(tmp_path / str(i), {})
        for name in ("metrics.csv", "arrays.npz"):
            (run.path / name).unlink()
        (run.path / "results.json").write_text("{}")
        runs.append(RunRecord.read(run.path))
    messages: list[str] = []
    text = write_comparison(runs, tmp_path / "out", complain=messages.append).read_text()
    assert messages == []
    assert "The recipes of these runs are the same." in text
    assert "None" not in text


@pytest.mark.thorough
@pytest.mark.usefixtures("drawn_once")
def test_many_runs_can_be_drawn(tmp_path: Path) -> None:
    runs = [record(tmp_path / str(i), results={"seed": i}, epochs=i) for i in range(10)]
    messages: list[str] = []
    write_comparison(runs, tmp_path / "out", complain=messages.append)
    assert messages == []


@pytest.mark.usefixtures("drawn_once")
def test_directory_with_files_needs_force(tmp_path: Path) -> None:
    runs = [record(tmp_path / "a"), record(tmp_path / "b")]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.md").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        write_comparison(runs, tmp_path / "out")
    assert (tmp_path / "out" / "report.md").read_text() == "mine"
    write_comparison(runs, tmp_path / "out", force=True)
    assert "2 runs compared" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize("force", [False, True])
def test_comparison_never_overwrites_the_report_of_a_run(tmp_path: Path, force: bool) -> None:
    runs = [record(tmp_path / "a"), record(tmp_path / "b")]
    with pytest.raises(UserError, match="is a run directory"):
        write_comparison(runs, tmp_path / "a", force)
    assert not (tmp_path / "a" / "report.md").exists()


def test_file_instead_of_the_directory_raises(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="cannot be a directory"):
        write_comparison([record(tmp_path / "a")], tmp_path / "out")


@pytest.mark.usefixtures("drawn_once")
def test_failed_section_is_reported_and_the_others_are_written(tmp_path: Path, monkeypatch: Any) -> None:
    def broken(*args: Any, **options: Any) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(compare, "draw_receptive", broken)
    messages: list[str] = []
    runs = [record(tmp_path / "a"), record(tmp_path / "b")]
    text = write_comparison(runs, tmp_path / "out", complain=messages.append).read_text()
    line = f"{__file__}:{broken.__code__.co_firstlineno + 1}"
    assert messages == [f"comparison of receptive fields failed: RuntimeError: no ink ({line})"]
    assert messages[0] in text
    assert "## Confusion" in text
