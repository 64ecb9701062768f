"""The section of early exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ffcore.report import RunRecord, write_report
from ffcore.report.exit_record import ExitRecord
from ffcore.report.exits import exit_rows, exits, notes, way_rows
from ffcore.report.style import paper_style
from tests.report.conftest import FakeRun, Only


def point(accuracy: float, blocks: float, products: float) -> dict[str, float]:
    return {"accuracy": accuracy, "blocks": blocks, "multiplications": products}


def content(**more: Any) -> dict[str, Any]:
    tried = [(0.0, 0.9, 1.0, 100.0), (1.0, 0.95, 1.2, 300.0), (None, 0.95, 2.0, 1000.0)]
    ways = [
        ("all blocks", 0.95, 2.0, 1000.0),
        ("exits", 0.949, 1.2, 300.0),
        ("readout a|b", 0.96, 2.0, 400.0),
    ]
    return {
        "format": 1,
        "weights": "0",
        "tolerance": 0.1,
        "hypotheses": True,
        "samples": {"validation": 1000, "test": 2000},
        "batch_size": 100,
        "threads": 1,
        "device": "cpu",
        "standard_error": 0.2,
        "exits": [
            {"name": "dense1", "blocks": 1, "multiplications": 100, "deviation": 2.0, "threshold": 2.0},
            {"name": "dense2", "blocks": 2, "multiplications": 1000, "deviation": None, "threshold": None},
        ],
        "tried": [{"t": t, "validation": point(*of), "test": point(*of)} for t, *of in tried],
        "chosen": 1,
        "ways": [
            {"name": name, "validation": point(*of), "test": point(*of), "milliseconds": 0.1234}
            for name, *of in ways
        ],
        **more,
    }


def test_a_run_without_the_file_has_no_section(fake_run: FakeRun) -> None:
    assert exits(RunRecord.read(fake_run())) is None


def test_tables_and_notes_have_the_numbers() -> None:
    record = ExitRecord.model_validate(content())
    assert way_rows(record)[1] == ["exits", "5.10 %", "5.10 %", "1.20", "300", "0.123"]
    assert (
        notes(record)[0]
        == "Exits on test data: 30 % of the multiplications, 0.10 points worse (standard error 0.20)."
    )
    equal = ExitRecord.model_validate(content(ways=content()["ways"][:1] * 2, hypotheses=False))
    assert notes(equal)[0].endswith("100 % of the multiplications, equally good (standard error 0.20).")
    assert len(notes(equal)) == len(notes(record)) - 1


def test_the_picture_has_both_splits_and_the_chosen_point(fake_run: FakeRun) -> None:
    run = fake_run()
    (run / "exits.json").write_text(json.dumps(content()))
    with paper_style():
        section = exits(RunRecord.read(run))
        assert section is not None
        (ax,) = section.pictures[0].figure.axes
    lines = {str(line.get_label()): line for line in ax.get_lines()}
    assert list(map(float, lines["test"].get_xdata())) == [100, 300, 1000]  # type: ignore[arg-type]
    assert list(map(float, lines["validation"].get_ydata())) == pytest.approx([10, 5, 5])  # type: ignore[arg-type]
    assert any(list(line.get_xdata()) == [300] and line.get_marker() == "D" for line in ax.get_lines())  # type: ignore[arg-type]
    assert "test, readout a|b" in lines
    assert ax.get_xscale() == "log"
    assert "readout a\\|b" in section.body


def test_exits_of_an_older_run_have_no_shares() -> None:
    older = content()
    assert [row[-2:] for row in exit_rows(ExitRecord.model_validate(older))] == [
        ["2", "–"],
        ["all that are left", "–"],
    ]
    for each, share in zip(older["exits"], (0.75, 0.25), strict=True):
        each["share"] = share
    assert [row[-1] for row in exit_rows(ExitRecord.model_validate(older))] == ["75.00 %", "25.00 %"]


@pytest.mark.usefixtures("drawn_once")
def test_the_report_has_the_section_and_names_a_damaged_file(fake_run: FakeRun, only: Only) -> None:
    only("exits")
    run: Path = fake_run()
    (run / "exits.json").write_text(json.dumps(content()))
    assert "(pictures/exits.png)" in write_report(run).read_text()
    (run / "exits.json").write_text("{}")
    said: list[str] = []
    text = write_report(run, said.append).read_text()
    assert "pictures/exits.png" not in text
    assert "exits.json" in said[0]
