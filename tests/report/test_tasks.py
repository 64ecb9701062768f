"""Reports and comparisons of other tasks than the classification of samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ffcore.report import RunRecord, better_alone, compare, write_comparison, write_report
from ffcore.report.evidence import evidence
from ffcore.report.measure import Measure
from ffcore.report.style import paper_style
from ffcore.report.summary import summary
from tests.report.conftest import FakeRun, Only, as_task, write_run


def cells(text: str, start: str) -> list[str]:
    """Return the cells of the row of a markdown table that begins with this cell."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_measure_of_a_run_is_the_error_or_the_headline_of_its_task() -> None:
    error, loss = Measure.of({}), Measure.of({"task": {"headline": "loss", "lower": True}})
    assert (error.name, error.better, error.shown(0.75), error.text(0.75)) == (
        "error",
        "smaller is better",
        25.0,
        "25.00 %",
    )
    assert (loss.name, loss.better, loss.shown(0.75), loss.text(0.75)) == (
        "loss",
        "smaller is better",
        0.75,
        "0.75",
    )
    assert error.score(0.75) > error.score(0.5)
    assert loss.score(0.5) > loss.score(0.75)


@pytest.mark.usefixtures("drawn_once")
def test_the_report_of_a_regression_has_both_splits_of_each_block(fake_run: FakeRun, only: Only) -> None:
    run: Path = as_task(fake_run())
    only("summary", "learning curves", "evidence")
    messages: list[str] = []
    text = write_report(run, messages.append).read_text()
    assert messages == []
    alone = RunRecord.read(run).get("val", "per_block")
    assert cells(text, "source of evidence")[1:] == ["test r2", "validation r2"]
    assert cells(text, "dense1")[2] == f"{alone['dense1']:.4g}"
    assert cells(text, "**combined**")[2] == "0.95"
    assert "pictures/curves.png" in text
    assert "pictures/blocks.png" in text


def test_epochs_are_no_measure_of_a_split(fake_run: FakeRun) -> None:
    body = summary(RunRecord.read(as_task(fake_run()))).body
    assert cells(body, "mae") == ["mae", "1234", "1234"]
    assert cells(body, "epochs") == ["epochs", "5"]


def test_bars_of_negative_values_are_drawn(fake_run: FakeRun) -> None:
    run = RunRecord.read(as_task(fake_run()))
    test = {"r2": 0.5, "per_block": {"dense1": -2.0, "dense2": 0.5}}
    run = replace(run, results=dict(run.results) | {"test": test})
    with paper_style():
        section = evidence(run)
    assert section is not None
    (ax,) = section.pictures[0].figure.axes
    assert ax.get_xlim()[0] < -2
    assert ax.get_xlabel() == "test r2"


@pytest.mark.parametrize(("lower", "alone", "said"), [(False, 0.99, 1), (False, 0.5, 0), (True, 0.5, 1)])
def test_a_source_that_is_better_alone_is_named_for_any_task(
    fake_run: FakeRun, lower: bool, alone: float, said: int
) -> None:
    run = RunRecord.read(as_task(fake_run(), lower=lower))
    val = {"r2": 0.95, "per_block": {"dense1": alone, "dense2": 0.95}}
    run = replace(run, results=dict(run.results) | {"val": val})
    lines = better_alone([run], ["a"])
    assert len(lines) == said
    if said:
        assert lines[0].startswith(f"a: dense1 alone has a validation r2 of {alone:g}, all combined 0.95")


def test_compared_runs_of_one_task_have_its_headline(tmp_path: Path) -> None:
    runs = [RunRecord.read(as_task(write_run(tmp_path / name))) for name in "ab"]
    messages: list[str] = []
    text = write_comparison(runs, tmp_path / "out", complain=messages.append).read_text()
    assert messages == []
    assert cells(text, "run")[1:3] == ["test r2", "validation r2"]
    assert "r2: larger is better." in text
    assert "## Test r2 of single blocks and combined" in text
    assert cells(text, "**combined**")[1] == f"{runs[0].get('test', 'r2'):.4g}"
    assert "error" not in text


def test_compared_runs_of_several_tasks_name_their_measures(tmp_path: Path) -> None:
    made = {"one": write_run(tmp_path / "a"), "two": as_task(write_run(tmp_path / "b"))}
    named = {name: RunRecord.read(run) for name, run in made.items()}
    assert cells(compare._results(named).body, "two")[1:5] == ["r2", "0.9508", "–", "0.95"]
    with paper_style():
        curves, blocks = compare._curves(named), compare._sources(named)
    assert curves is not None
    assert blocks is not None
    figure = curves.pictures[0].figure
    assert [ax.get_ylabel() for ax in figure.axes] == ["error (%)", "r2"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two", "test, paper"]
    assert cells(blocks.body, "")[1:] == ["one: error", "two: r2"]
    assert all(cell != "–" for cell in cells(blocks.body, "dense1"))
