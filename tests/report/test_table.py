from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from ffcore.report import RunRecord, compare_table, differences_table, results_table
from ffcore.report.table import compared
from tests.report.conftest import FakeRun


def printed(table: Any) -> str:
    console = Console(width=80, file=StringIO())
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def row(text: str, start: str) -> str:
    return next(" ".join(line.split()) for line in text.splitlines() if line.strip().startswith(start))


def test_result_is_beside_that_of_the_paper(fake_run: FakeRun) -> None:
    run = RunRecord.read(fake_run())
    text = printed(results_table(run.results))
    assert row(text, "test error").endswith("1.36 %")
    assert row(text, "epochs") == "epochs 5 60"
    assert row(text, "test error of dense1").endswith("%")
    assert "Hinton 2022" in text


def test_without_a_paper_its_column_is_left_out(fake_run: FakeRun) -> None:
    text = printed(results_table(RunRecord.read(fake_run(without=("paper",))).results))
    assert "paper" not in text
    assert row(text, "epochs") == "epochs 5"


def test_paper_that_is_null_has_no_column() -> None:
    assert "paper" not in printed(results_table({"recipe": "x", "paper": None}))
    assert "paper" not in printed(compare_table([{"recipe": "x", "paper": None}, {"recipe": "y"}]))


def test_training_time_and_total_time_have_rows(fake_run: FakeRun) -> None:
    results = RunRecord.read(fake_run()).results
    text = printed(results_table(results))
    assert row(text, "training time").startswith("training time 1 min 02 s")
    assert row(text, "total time").startswith("total time 1 min 15 s")
    assert "1:02" in printed(compare_table([results]))
    results.pop("train_s")
    assert "training time" not in printed(results_table(results))


def test_names_are_not_markup() -> None:
    assert "[bold]x: [/]" in printed(results_table({"recipe": "[bold]x", "title": "[/]"}))
    assert "[bold]x" in printed(compare_table([{"recipe": "[bold]x"}]))


def test_results_may_be_empty() -> None:
    assert "test error" in printed(results_table({}))


def test_runs_are_rows_and_fit_80_columns(fake_run: FakeRun) -> None:
    results = RunRecord.read(fake_run()).results
    text = printed(compare_table([results, results | {"recipe": "mnist-resnet", "train_s": 7500}]))
    assert "2:05:00" in text
    assert "…" not in text
    assert "mnist-resnet" in text


def test_seed_has_a_column_only_if_it_differs(fake_run: FakeRun) -> None:
    results = RunRecord.read(fake_run()).results
    assert "seed" not in printed(compare_table([results, results]))
    assert "seed" in printed(compare_table([results, results | {"seed": 4}]))


def test_path_of_a_setting_is_never_shortened() -> None:
    path = "network.0.block.objective.threshold"
    text = printed(differences_table({path: ["units", "a value of many words " * 3]}, ["one", "two"]))
    assert row(text, path).startswith(f"{path} units a value of")
    assert "…" not in text


def _spending(joules):
    return {"costs": {"phases": {"learning": {"joules": joules}, "test": {"joules": {"gpu": 9e9}}}}}


def test_energy_is_that_of_learning_by_counters_that_all_runs_have():
    several = [{"gpu": 3600.0, "gpu, sampled": 7200.0, "cpu": 36.0}, {"gpu, sampled": 360.0}, {}]
    cells = [row["energy"] for row in compared([_spending(each) for each in several])]
    assert cells == ["2.00 Wh", "0.100 Wh", "–"]
    cells = [row["energy"] for row in compared([_spending(each) for each in several[:1]])]
    assert cells == ["1.01 Wh"]
    assert "energy" not in compared([_spending({"gpu": 1.0}), _spending({"cpu": 1.0})])[0]
