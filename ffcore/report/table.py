"""What ``ffcore run`` prints at its end, and several runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ffcore.report.text import NOTHING, clock, count, duration, error, memory, percent

Results = Mapping[str, Any]


def results_table(results: Results) -> Group:
    """Result, blocks alone and cost of one run; at most 80 columns wide.

    Args:
        results: the contents of ``results.json``; any key may be absent.

    Returns:
        Something for a rich console to print.
    """
    paper = results.get("paper") or {}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("this run", justify="right")
    if paper:
        table.add_column("paper", justify="right")
    for group in (_quality(results, paper), _alone(results), _cost(results, paper)):
        for name, ours, theirs in group:
            table.add_row(*map(Text, (name, ours, theirs) if paper else (name, ours)))
        if group:
            table.add_section()
    # not the table's own title and caption, which are no wider than its columns
    note = [Text(f"paper: {paper.get('source', '')}", style="dim")] if paper else []
    return Group(_title(results), table, *note)


Rows = list[tuple[str, str, str]]


def _title(results: Results) -> Text:
    name, title = results.get("recipe", "run"), results.get("title", "")
    return Text(f"{name}: {title}" if title else str(name), style="bold")


def _quality(results: Results, paper: Results) -> Rows:
    test, val = _of(results, "test", "accuracy"), _of(results, "val", "accuracy")
    theirs = None if paper.get("test_error") is None else 1 - paper["test_error"] / 100
    rows = [
        ("test error", error(test), "" if theirs is None else error(theirs)),
        ("test accuracy", percent(test), "" if theirs is None else percent(theirs)),
    ]
    return rows if val is None else [*rows, ("validation accuracy", percent(val), "")]


def _alone(results: Results) -> Rows:
    alone = _of(results, "test", "per_block_accuracy") or {}
    if len(alone) < 2:
        return []
    return [(f"{name} alone, test error", error(value), "") for name, value in alone.items()]


def _cost(results: Results, paper: Results) -> Rows:
    epochs = "" if paper.get("epochs") is None else count(paper["epochs"])
    rows = [
        ("parameters", "parameters", count, ""),
        ("epochs", "epochs", count, epochs),
        ("time learning", "train_s", duration, ""),
        ("time in all", "wall_s", duration, ""),
        ("samples per second", "samples_per_s", count, ""),
        ("peak memory", "peak_memory", memory, ""),
    ]
    return [
        (name, how(results[key]), theirs) for name, key, how, theirs in rows if results.get(key) is not None
    ]


def compare_table(results: Sequence[Results]) -> Table:
    """Several runs, a row each; no column for papers where no run has one.

    Args:
        results: the contents of their ``results.json``; any key may be absent.

    Returns:
        Something for a rich console to print.
    """
    papers = any(_of(run, "paper", "test_error") is not None for run in results)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.caption = f"test,{' paper,' if papers else ''} val.: error in percent; learning: time"
    table.caption_justify = "left"
    table.add_column("run", overflow="fold")
    rows = [_compared(run) for run in results]
    columns = [name for name in _compared({}) if name != "paper" or papers]
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[column]) for column in columns))
    return table


def _compared(run: Results) -> dict[str, str]:
    """Cells of a run's row by column."""
    paper = _of(run, "paper", "test_error")
    return {
        "run": str(run.get("recipe", NOTHING)),
        "seed": str(run.get("seed", NOTHING)),
        "test": _bare(error(_of(run, "test", "accuracy"))),
        "paper": _bare(percent(None if paper is None else paper / 100)),
        "val.": _bare(error(_of(run, "val", "accuracy"))),
        "epochs": count(run.get("epochs")),
        "learning": clock(run.get("train_s")),
        "samples/s": count(run.get("samples_per_s")),
        "memory": memory(run.get("peak_memory")),
    }


def _bare(percentage: str) -> str:
    return percentage.removesuffix(" %")


def _of(results: Results, *keys: str) -> Any:
    value: Any = results
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
