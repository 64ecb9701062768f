"""``ffcore report``: the report of a finished run again, or several runs beside each other."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
def command(runs: tuple[Path, ...]) -> None:
    """Make the report in the folder RUN again; of several, print a table, a row each."""
    from ffcore.cli.console import console
    from ffcore.report import RunRecord, compare_table, write_report

    if len(runs) == 1:
        click.echo(write_report(runs[0], lambda message: click.echo(message, err=True)))
    else:
        console().print(compare_table([RunRecord.read(run).results for run in runs]))
