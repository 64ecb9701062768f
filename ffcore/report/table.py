"""Tables for the terminal: the results of a run, and a comparison of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ffcore.report.differences import grouped
from ffcore.report.measure import Measure
from ffcore.report.record import deep
from ffcore.report.spent import comparable, energies, energy, multiplications, used
from ffcore.report.text import (
    NOTHING,
    clock,
    count,
    duration,
    error,
    memory,
    number,
    percent,
    plain,
    plural,
    short,
)

Results = Mapping[str, Any]


def results_table(results: Results) -> Group:
    """Returns the table of results, single blocks and cost of a run, at most 80 columns wide.

    Args:
        results: the content of ``results.json``; any key may be missing.

    Returns:
        A renderable for a rich console.
    """
    paper = results.get("paper") or {}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("this run", justify="right")
    if paper:
        table.add_column("paper", justify="right")
    for group in (_quality(results, paper), _sources(results), _cost(results, paper)):
        for name, own, of_paper in group:
            table.add_row(*map(_cell, (name, own, of_paper) if paper else (name, own)))
        if group:
            table.add_section()
    # Not the title and caption of the table: rich wraps them to the width of its columns.
    note = [Text(plain(f"paper: {paper.get('source', '')}"), style="dim")] if paper else []
    return Group(_title(results), table, *note)


def _cell(text: str) -> Text:
    """Returns a cell that is printed unchanged: a string would be read as console markup."""
    return Text(plain(text))


Rows = list[tuple[str, str, str]]


def _title(results: Results) -> Text:
    name, title = results.get("recipe", "run"), results.get("title", "")
    return Text(plain(f"{name}: {title}" if title else name), style="bold")


def _quality(results: Results, paper: Results) -> Rows:
    if results.get("task"):
        return _of_task(results)
    test, val = deep(results, "test", "accuracy"), deep(results, "val", "accuracy")
    of_paper = None if paper.get("test_error") is None else 1 - paper["test_error"] / 100
    rows = [
        ("test error", error(test), "" if of_paper is None else error(of_paper)),
        ("test accuracy", percent(test), "" if of_paper is None else percent(of_paper)),
    ]
    return rows if val is None else [*rows, ("validation accuracy", percent(val), "")]


def _of_task(results: Results) -> Rows:
    """Return the measures of a task other than the classification of samples."""
    test = results.get("test") or {}
    rows = [
        (f"test {name}", number(value), "")
        for name, value in test.items()
        if name != "per_block" and not isinstance(value, list)
    ]
    measure = Measure.of(results)
    val = measure.stored(results, "val")
    return rows if val is None else [*rows, (f"validation {measure.name}", measure.text(val), "")]


def _sources(results: Results) -> Rows:
    measure = Measure.of(results)
    alone = measure.sources(results, "test")
    if len(alone) < 2:
        return []
    return [(f"test {measure.name} of {name}", measure.text(value), "") for name, value in alone.items()]


def _cost(results: Results, paper: Results) -> Rows:
    epochs = "" if paper.get("epochs") is None else count(paper["epochs"])
    rows = [
        ("parameters", "parameters", count, ""),
        ("epochs", "epochs", count, epochs),
        ("training time", "train_s", duration, ""),
        ("total time", "wall_s", duration, ""),
        ("samples per second", "samples_per_s", count, ""),
        ("peak memory", "peak_memory", memory, ""),
    ]
    known = [
        (name, how(results[key]), paper_cell)
        for name, key, how, paper_cell in rows
        if results.get(key) is not None
    ]
    stopped = (results.get("stopped") or {}).items()
    ends = [(f"{name} stopped after", plural(epochs, "epoch"), "") for name, epochs in stopped]
    return [*known, *ends, *_spent(results), *_boxes(results)]


def _spent(results: Results) -> Rows:
    """Return the multiplications of learning, and the energy of the whole run."""
    costs = results.get("costs")
    made = multiplications(costs)
    rows = [] if made is None else [("multiplications to learn", short(made), "")]
    return [*rows, *((f"energy, {name}", energy(joules), "") for name, joules in energies(costs).items())]


def _boxes(results: Results) -> Rows:
    """Return the rows that black boxes have processed."""
    return [
        (
            f"rows through {name}",
            f"{count(uses.get('learning', {}).get('rows', 0))} learning, "
            f"{count(uses.get('measuring', {}).get('rows', 0))} measuring",
            "",
        )
        for name, uses in (results.get("boxes") or {}).items()
    ]


LEFT_OUT = ("memory", "mult.", "samples/s", "param.", "energy", "epochs", "time")
"""Columns of a comparison that are left out in a narrow terminal, in this order."""
_GAP = 2
"""Width of the space between two columns of a comparison."""
_LEAST = 32
"""Longer names of runs wrap in a narrow terminal."""


def compare_table(
    results: Sequence[Results], names: Sequence[str] | None = None, width: int | None = None
) -> Table:
    """Returns a table with a row per run. Columns without information are left out, such as equal seeds.

    Args:
        results: the content of each ``results.json``; any key may be missing.
        names: names of the runs; None for the names of their recipes.
        width: in characters: the least important columns are left out until the table fits; None for all
            columns. Numbers are never cut.

    Returns:
        A renderable for a rich console.
    """
    rows = compared(results, names)
    columns = list(rows[0]) if rows else []
    widths = {
        column: max(cell_len(column), *(cell_len(plain(row[column])) for row in rows)) for column in columns
    }
    left_out: list[str] = []

    def missing() -> int:
        """Return how many characters the terminal lacks."""
        needs = sum(widths[column] + _GAP for column in columns if column not in left_out)
        return 0 if width is None else needs - width

    if columns and missing() > 0:
        full, widths["run"] = widths["run"], min(widths["run"], _LEAST)
        for column in filter(columns.__contains__, LEFT_OUT):
            if missing() <= 0:
                break
            left_out.append(column)
        widths["run"] = min(full, widths["run"] - min(missing(), 0))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    shown = [column for column in columns if column not in left_out]
    table.caption, table.caption_justify = _caption(results, shown, left_out), "left"
    for column in shown:
        if column == "run":
            table.add_column(column, overflow="fold", width=widths["run"])
        elif column == "measure":
            table.add_column(column, no_wrap=True, min_width=widths[column])
        else:
            table.add_column(column, justify="right", no_wrap=True, min_width=widths[column])
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in shown))
    return table


def _caption(results: Sequence[Results], columns: Sequence[str], left_out: Sequence[str]) -> str:
    """Return what the columns are, and which ones are left out."""
    measures = Measure.distinct(results)
    names = ", ".join(name for name in ("test", "paper", "val.") if name in columns)
    parts = [f"{names}: error in percent"]
    if len(measures) > 1:
        parts = [f"{measure.label}: {measure.better}" for measure in measures]
    elif measures and measures[0].headline:
        parts = [f"test, val.: {measures[0].label}, {measures[0].better}"]
    if "time" in columns:
        parts.append("time: training time")
    if "energy" in columns:
        parts.append(f"energy: of learning ({', '.join(comparable(results))})")
    if left_out:
        parts.append(f"not shown, for lack of width: {', '.join(left_out)}")
    return "; ".join(parts)


def compared(results: Sequence[Results], names: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Returns the cells of each run's row by column, as in `compare_table`."""
    names = names or [str(run.get("recipe", NOTHING)) for run in results]
    papers = any(deep(run, "paper", "test_error") is not None for run in results)
    counters = comparable(results)
    rows = [{"run": name} | _metrics(run, counters) for name, run in zip(names, results, strict=True)]
    # columns without information
    idle = set() if papers else {"paper"}
    idle |= {name for name in ("mult.", "energy") if all(row[name] == NOTHING for row in rows)}
    idle |= {name for name in ("seed", "measure") if len({row[name] for row in rows}) == 1}
    return [{key: cell for key, cell in row.items() if key not in idle} for row in rows]


def differences_table(differ: Mapping[str, Sequence[str]], names: Sequence[str]) -> Table:
    """Returns a table of the settings that differ, with a row per setting and a column per run.

    Args:
        differ: values by dotted path, one per run.
        names: names of the runs.

    Returns:
        A renderable for a rich console.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("different setting", no_wrap=True)
    for name in names:
        table.add_column(_cell(name), overflow="fold")
    inside = False
    for path, cells in grouped(differ):
        inside = not cells or (inside and path not in differ)
        setting = _cell(path)
        if inside and cells:
            setting.pad_left(2)
        table.add_row(setting, *map(_cell, cells))
    return table


def _metrics(run: Results, counters: Sequence[str]) -> dict[str, str]:
    paper, measure = deep(run, "paper", "test_error"), Measure.of(run)
    return {
        "seed": str(run.get("seed", NOTHING)),
        "measure": measure.label,
        "test": _bare(measure.text(measure.stored(run, "test"))),
        "paper": _bare(percent(None if paper is None else paper / 100)),
        "val.": _bare(measure.text(measure.stored(run, "val"))),
        "epochs": count(run.get("epochs")),
        "time": clock(run.get("train_s")),
        "samples/s": count(run.get("samples_per_s")),
        "mult.": short(multiplications(run.get("costs"))),
        "energy": energy(used(run.get("costs"), counters)),
        "memory": memory(run.get("peak_memory")),
        "param.": short(run.get("parameters")),
    }


def _bare(percentage: str) -> str:
    return percentage.removesuffix(" %")
