"""``ffcore report``: the report of a finished run, a comparison of runs, or the summary of a sweep."""

from __future__ import annotations

from pathlib import Path

import click

from ffcore.cli.folder import Folder
from ffcore.errors import UserError


@click.command(name="report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=Folder())
@click.option(
    "--out",
    type=Folder(),
    help="with several runs: also write report.md and report.html into this directory",
)
@click.option(
    "--force", is_flag=True, help="with --out: the directory may have the files of an earlier comparison"
)
def command(runs: tuple[Path, ...], out: Path | None, force: bool) -> None:
    """Write the report of a RUN again, or compare several.

    A comparison prints a table with a row per run, and a table of the settings that differ between their
    recipes. For the directory of a sweep, its summary is written again; several sweeps are compared by the
    means over their seeds.
    """
    from ffcore import report
    from ffcore.cli.console import console, print_whole
    from ffcore.files import SUMMARY

    def complain(message: str) -> None:
        click.echo(message, err=True)

    if out is not None and len(runs) == 1:
        raise click.UsageError(
            "--out needs several runs: the report of one run is written into its directory"
        )
    if force and out is None:
        raise click.UsageError("--force needs --out")
    if len(runs) == 1 and (runs[0] / SUMMARY).is_file():
        from ffcore.cli.sweeps import summarise_again

        summarise_again(runs[0])
        return
    if all((run / SUMMARY).is_file() for run in runs):
        from ffcore.cli.sweeps import compare_sweeps

        if out is not None:
            raise click.UsageError("--out needs several runs: name directories of runs in the sweeps")
        compare_sweeps(runs)
        return
    if len(runs) == 1:
        try:
            written: Path | None = report.write_report(runs[0], complain)
        except OSError as error:
            raise UserError(f"{error.filename}: cannot be written: {error.strerror}") from error
    else:
        records = [report.RunRecord.read(run) for run in runs]
        written = None if out is None else report.write_comparison(records, out, force, complain)
        names = report.names_of_runs(records)
        target = console()
        width = target.width if target.is_terminal else None
        print_whole(report.compare_table([record.results for record in records], names, width))
        for line in report.better_alone(records, names):
            click.echo(line)
        if different := report.differences(records):
            print_whole(report.differences_table(different, names))
    if written is not None:
        click.echo(written)
        click.echo(written.with_suffix(".html"))
