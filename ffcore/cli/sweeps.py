"""Runs a sweep from the command line, and prints its table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ffcore.cli.options import Duration
from ffcore.plugin import manager

if TYPE_CHECKING:
    from ffcore.sweeps.sweep import Sweep

_MOST = 10
"""Trials of a search that are printed; the summary has all."""


def run_sweep(sweep: Sweep, jobs: int | None, max_time: Duration | None) -> int:
    """Start the runs of a sweep, one process each. Returns the exit code."""
    from ffcore.sweeps import launcher
    from ffcore.sweeps.sweep import INTERRUPTED

    code = launcher.launch(
        sweep,
        launcher.program(click.get_current_context().obj["program"]),
        jobs=jobs,
        max_time=max_time.seconds if max_time is not None else None,
        tell=click.echo,
    )
    print_sweep(sweep)
    if code == INTERRUPTED:
        click.echo(f"interrupted: {_resume_hint(sweep.folder, sweep)}", err=True)
    elif max_time is not None and _unfinished(sweep):
        print_stopped(max_time, sweep.folder, sweep)
    return code


def _unfinished(sweep: Sweep) -> bool:
    if sweep.search is not None and len(sweep.search.found) < sweep.search.trials:
        return True
    return any(sweep.state(one) not in ("done", "pruned") for one in sweep.runs)


def print_stopped(max_time: Duration | None, folder: Path, sweep: Sweep | None = None) -> None:
    """Print that the time is over, and how to resume the run or the sweep."""
    after = f" after {max_time.text}" if max_time is not None else ""
    click.echo(f"stopped{after}: {_resume_hint(folder, sweep)}")


def _resume_hint(folder: Path, sweep: Sweep | None = None) -> str:
    verb = "sweep" if sweep is not None and sweep.search is not None else "run"
    return f"resume {folder} with `{manager.command(verb, '--resume', str(folder))}`"


def print_sweep(sweep: Sweep) -> None:
    """Print the table of a sweep, a line for every failed run, and the paths of summary and picture."""
    from ffcore.cli.console import print_table
    from ffcore.sweeps.picture import draw
    from ffcore.sweeps.sweep import remarks, rows

    lines: list[str] = []
    if sweep.search is None:
        print_table(sweep.columns, rows(sweep))
    else:
        from ffcore.sweeps import search_report

        made = search_report.rows(sweep, best_first=True)
        print_table(sweep.columns, made[:_MOST])
        lines = [f"{len(made) - _MOST} more trials are in the summary"] if len(made) > _MOST else []
        lines += search_report.best_lines(sweep)
    for line in [*lines, *remarks(sweep)]:
        click.echo(line)
    click.echo(f"summary   {sweep.folder / 'summary.md'}")
    picture = draw(sweep, lambda line: click.echo(line, err=True))
    if sweep.search is not None:
        click.echo(f"page      {sweep.folder / 'summary.html'}")
    if picture is not None:
        click.echo(f"picture   {picture}")


def summarise_again(folder: Path) -> None:
    """Write the summary of a sweep again from the results of its runs, and print it.

    Raises:
        UserError: the summary is damaged or cannot be written, or the sweep is running.
    """
    from ffcore.run import directory
    from ffcore.sweeps.sweep import Sweep

    sweep = Sweep.read(folder)
    directory.refuse_read_only(folder)
    with directory.locked(folder):
        sweep.mark()
        sweep.write()
    print_sweep(sweep)


def compare_sweeps(folders: Sequence[Path]) -> None:
    """Print a table with the means of several sweeps; nothing is written.

    Raises:
        UserError: a summary is damaged, or one is a search.
    """
    from ffcore.cli.console import print_table
    from ffcore.sweeps.several import compared
    from ffcore.sweeps.sweep import DEVIATION, Sweep

    head, rows = compared([Sweep.read(folder) for folder in folders])
    print_table(head, rows)
    if any("±" in cell for row in rows for cell in row):
        click.echo(DEVIATION)
