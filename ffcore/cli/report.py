"""``ffcore report``: the report of a finished run, several runs beside each other, or a sweep's summary."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="of several runs: write report.md and report.html into this folder too",
)
@click.option("--force", is_flag=True, help="with --out: the folder may have files, an earlier comparison's")
def command(runs: tuple[Path, ...], out: Path | None, force: bool) -> None:
    """Make the report in the folder RUN again; of several, print them beside each other.

    Of several runs the table has a row each, and a second one the settings of their recipes that differ. In
    the folder of a grid or of several seeds, the summary is written again.
    """
    from ffcore import report
    from ffcore.cli.console import console
    from ffcore.files import SUMMARY

    def complain(message: str) -> None:
        click.echo(message, err=True)

    if out is not None and len(runs) == 1:
        raise click.UsageError("--out is for several runs: the report of one lies in its own folder")
    if force and out is None:
        raise click.UsageError("--force goes with --out")
    if len(runs) == 1 and (runs[0] / SUMMARY).is_file():
        from ffcore.cli.sweeps import summarise_again

        summarise_again(runs[0])
        return
    if len(runs) == 1:
        written: Path | None = report.write_report(runs[0], complain)
    else:
        records = [report.RunRecord.read(run) for run in runs]
        written = None if out is None else report.write_comparison(records, out, force, complain)
        names = report.names_of_runs(records)
        console().print(report.compare_table([record.results for record in records], names))
        if differ := report.differences(records):
            console().print(report.differences_table(differ, names))
    if written is not None:
        click.echo(written)
        click.echo(written.with_suffix(".html"))
