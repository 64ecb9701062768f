"""The section of what a representation is like."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ffcore.report import RunRecord, write_report
from ffcore.report.analysis import analysis, tables
from ffcore.report.analysis_record import Analysis
from ffcore.report.style import paper_style
from tests.report.conftest import FakeRun, Only


def measures(name: str, features: int = 500) -> dict[str, Any]:
    return {
        "name": name,
        "features": features,
        "population_sparsity": 0.5,
        "lifetime_sparsity": None,
        "zeros": 0.25,
        "dead": 0.125,
        "effective_rank": 99.5,
        "participation_ratio": 12.25,
    }


def content(**more: Any) -> dict[str, Any]:
    names = ["input", "dense1", "a|b"]
    return {
        "weights": "0",
        "data": "digits",
        "split": "test",
        "samples": 360,
        "seed": 1,
        "blocks": [measures(name) for name in names],
        "similarity": {
            "rows": names,
            "columns": names,
            "values": [[1.0, 0.5, None], [0.5, 1.0, -0.001], [None, -0.001, 1.0]],
        },
        "gradients": {
            "split": "train",
            "batches": 10,
            "batch_size": 25,
            "temperature": 88.5,
            "blocks": [
                {"name": "dense1", "cosine": -0.25, "deviation": 0.125},
                {"name": "a|b", "cosine": None, "deviation": None, "reason": "one of its gradients is zero"},
            ],
        },
        "robustness": {
            "unit": "range",
            "accuracy": 0.9,
            "curves": [
                {"change": "noise", "levels": [0.1], "accuracies": [0.85]},
                {"change": "shift", "levels": [1.0], "accuracies": [0.5]},
                {"change": "fgsm", "levels": [0.1], "accuracies": [0.25], "still": 0.5},
            ],
        },
        **more,
    }


def test_a_run_without_the_file_has_no_section(fake_run: FakeRun) -> None:
    assert analysis(RunRecord.read(fake_run())) is None


def test_tables_have_the_numbers() -> None:
    activities, similarity, gradients, robustness = tables(Analysis.model_validate(content()))
    assert activities.rows[1] == ["dense1", "500", "0.50", "–", "25.00 %", "12.50 %", "99.5", "12.2"]
    assert "at most 359" in activities.notes[-1]
    assert similarity.rows[1] == ["dense1", "0.50", "1.00", "0.00"]
    assert gradients.rows[0] == ["dense1", "-0.250", "0.125"]
    assert gradients.rows[1] == ["a|b", "–", "–"]
    assert gradients.notes[0] == "a|b: not available: one of its gradients is zero."
    assert "divided by 88.5" in gradients.notes[1]
    assert robustness.rows == [
        ["none", "", "90.00 %", "–"],
        ["noise", "0.1", "85.00 %", "-5.00"],
        ["shift", "1 px", "50.00 %", "-40.00"],
        ["FGSM", "0.1", "25.00 %", "-65.00"],
    ]
    assert "50.00 % of the samples" in robustness.notes[-1]


def test_a_gradient_of_the_twin_that_harms_more_is_told() -> None:
    whole = content()["robustness"]
    for accuracy, told in ((0.1, True), (0.24, False), (0.6, False)):
        other = {"change": "transfer", "levels": [0.1], "accuracies": [accuracy]}
        record = content(robustness={**whole, "curves": [*whole["curves"], other]})
        robustness = tables(Analysis.model_validate(record))[-1]
        assert robustness.rows[-1][0] == "FGSM of the twin"
        assert ("says little" in robustness.notes[-1]) == told


def test_what_is_not_available_has_its_reason() -> None:
    record = Analysis.model_validate(
        content(
            gradients={**content()["gradients"], "blocks": [], "reason": "a circuit"},
            robustness={"unit": "range", "accuracy": None, "reason": "tokens"},
        )
    )
    *_, gradients, robustness = tables(record)
    assert (gradients.rows, gradients.notes) == ((), ["Not available: a circuit."])
    assert (robustness.rows, robustness.notes) == ((), ["Not available: tokens."])


def test_large_networks_have_some_of_their_columns() -> None:
    names = [f"block{i}" for i in range(30)]
    values = [[1.0 if i == j else 0.5 for j in range(30)] for i in range(30)]
    record = content(
        blocks=[measures(name) for name in names],
        similarity={"rows": names, "columns": names, "values": values},
    )
    similarity = tables(Analysis.model_validate(record))[1]
    assert len(similarity.columns) == 13
    assert (similarity.columns[1], similarity.columns[-1]) == ("block0", "block29")
    assert "12 of 30 columns" in similarity.notes[0]


def test_pictures_have_a_panel_for_what_was_measured(fake_run: FakeRun) -> None:
    run = fake_run()
    twin = {**content()["similarity"], "of": "runs/twin"}
    for more, panels in (
        ({"twin": twin}, [2, 3]),
        ({"robustness": {"unit": "range", "accuracy": None, "reason": "tokens"}}, [1, 1]),
        ({"gradients": {**content()["gradients"], "blocks": [], "reason": "x"}}, [1, 2]),
    ):
        (run / "analysis.json").write_text(json.dumps(content(**more)))
        with paper_style():
            section = analysis(RunRecord.read(run))
            assert section is not None
        assert [len(picture.figure.axes) for picture in section.pictures] == panels
        assert "a\\|b" in section.body


@pytest.mark.usefixtures("drawn_once")
def test_the_report_has_the_section_and_names_a_damaged_file(fake_run: FakeRun, only: Only) -> None:
    only("analysis")
    run = fake_run()
    (run / "analysis.json").write_text(json.dumps(content()))
    text = write_report(run).read_text()
    assert "(pictures/cka.png)" in text
    assert "(pictures/robustness.png)" in text
    (run / "analysis.json").write_text("{}")
    said: list[str] = []
    assert "pictures/cka.png" not in write_report(run, said.append).read_text()
    assert "analysis.json" in said[0]
