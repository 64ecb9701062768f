"""Prints the table of a sweep."""

from __future__ import annotations

from pathlib import Path

import click

from ffcore.cli.console import print_table
from ffcore.run import directory
from ffcore.run.sweep import Sweep, remarks, rows
from ffcore.run.sweep_picture import draw


def print_sweep(sweep: Sweep) -> None:
    """Print the table of a sweep, a line for every failed run, and the paths of summary and picture."""
    print_table(sweep.columns, rows(sweep))
    for remark in remarks(sweep):
        click.echo(remark)
    click.echo(f"summary   {sweep.folder / 'summary.md'}")
    if (picture := draw(sweep)) is not None:
        click.echo(f"picture   {picture}")


def summarise_again(folder: Path) -> None:
    """Write the summary of a sweep again from the results of its runs, and print it.

    Raises:
        UserError: the summary is damaged or cannot be written, or the sweep is running.
    """
    sweep = Sweep.read(folder)
    directory.refuse_read_only(folder)
    with directory.locked(folder):
        sweep.refresh()
    print_sweep(sweep)
