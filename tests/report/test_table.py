from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from ffcore.report import RunRecord, compare_table, differences_table, results_table
from ffcore.report.table import compared
from tests.report.conftest import FakeRun, as_task


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


def test_errors_are_never_cut_and_other_columns_are_left_out(fake_run: FakeRun) -> None:
    results = RunRecord.read(fake_run()).results
    runs = [results, results | {"seed": 4}]
    names = [f"a-recipe-of-a-long-name, seed {seed}" for seed in (3, 4)]
    text = printed(compare_table(runs, names, 80))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert row(text, names[0]).startswith(f"{names[0]} 3 4.92 1.36 5.00 5 ")
    assert "memory" not in row(text, "run")
    assert "not shown, for lack of width: memory, " in " ".join(text.split())
    narrow = printed(compare_table(runs, names, 40))
    assert row(narrow, names[0][:20]).endswith("3 4.92 1.36 5.00")
    assert "memory" in row(printed(compare_table(runs, ["a", "b"], 100)), "run")


def test_the_measure_of_a_task_is_named(fake_run: FakeRun) -> None:
    results = RunRecord.read(as_task(fake_run())).results
    text = printed(compare_table([results, results]))
    assert "test, val.: r2, larger is better" in text
    assert "percent" not in text
    text = printed(compare_table([results, {"test": {"accuracy": 0.75}}], ["a", "b"], 80))
    assert row(text, "a").startswith("a 3 r2 0.9508")
    assert row(text, "b").startswith("b – error (%) 25.00")
    assert "r2: larger is better; error (%): smaller is better" in " ".join(text.split())


def test_seed_has_a_column_only_if_it_differs(fake_run: FakeRun) -> None:
    results = RunRecord.read(fake_run()).results
    assert "seed" not in printed(compare_table([results, results]))
    assert "seed" in printed(compare_table([results, results | {"seed": 4}]))


def test_path_of_a_setting_is_never_shortened() -> None:
    path = "network.0.block.objective.threshold"
    text = printed(differences_table({path: ["units", "a value of many words " * 3]}, ["one", "two"]))
    assert row(text, path).startswith(f"{path} units a value of")
    assert "…" not in text


def _energies(*runs):
    """Return the cells of runs with these energies of learning; those with a GPU's have used one."""
    learning = [
        {"joules": joules, "peak_memory": 1 if any(name.startswith("gpu") for name in joules) else None}
        for joules in runs
    ]
    phases = [{"learning": each, "test": {"joules": {"gpu": 9e9}}} for each in learning]
    return [row.get("energy") for row in compared([{"costs": {"phases": each}} for each in phases])]


def test_energy_is_that_of_learning_by_counters_that_can_be_compared():
    whole = {"gpu": 3600.0, "gpu, sampled": 7200.0, "cpu": 36.0}
    assert _energies(whole) == ["1.01 Wh"]
    assert _energies(whole, {"gpu, sampled": 360.0}, {}) == ["2.00 Wh", "0.100 Wh", "–"]
    assert _energies(whole, {"cpu": 360.0}) == ["1.01 Wh", "0.100 Wh"]
    assert _energies({"gpu": 3600.0}, {"cpu": 360.0}) == ["1.00 Wh", "–"]
