"""``ffcore eval``: evaluates a finished run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ffcore.cli import options
from ffcore.cli.folder import Folder
from ffcore.cli.ranks import failed
from ffcore.errors import RunError, UserError
from ffcore.files import ANALYSIS, CHECKPOINTS, EXITS, RESULTS
from ffcore.plugin import manager
from ffcore.report.text import number, plain


@click.command(name="eval")
@click.argument("run_dir", type=Folder())
@click.argument("overrides", nargs=-1)
@click.option("--split", type=click.Choice(["test", "val", "train", "all"]), help="[default: test]")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.option("--probe", is_flag=True, help="fit probes on the features of each block")
@click.option(
    "--neighbours", type=click.IntRange(min=1), help="with --probe: neighbours that vote  [default: 5]"
)
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    help="chosen by the run's seed: with --probe training samples for the fit  [default: 10000], with "
    "--analysis samples of the split  [default: 1000]",
)
@click.option(
    "--exits", is_flag=True, help="choose early exits on validation data, and measure them on test data"
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100),
    help="with --exits: accuracy that may be lost, in percentage points  [default: 0.1]",
)
@click.option(
    "--analysis",
    is_flag=True,
    help="measure what representations are like, and how robust predictions are",
)
@click.option("--twin", type=Folder(), help="with --analysis: another run on the same data, for CKA")
@options.device("auto")
@click.option(
    "--devices", type=click.IntRange(min=1), help="processes that share the evaluation  [default: 1]"
)
def command(
    run_dir: Path,
    overrides: tuple[str, ...],
    split: str | None,
    as_json: bool,
    probe: bool,
    neighbours: int | None,
    samples: int | None,
    exits: bool,
    tolerance: float | None,
    analysis: bool,
    twin: Path | None,
    device: str | None,
    devices: int | None,
) -> int:
    """Evaluate the run in RUN_DIR on its data, or on other files given by OVERRIDES such as data.root=DIR.

    A file without splits is divided as in training: for all of its samples use --split all.
    """
    # Only given options are passed on: the defaults are those of `probe`.
    given = {"neighbours": neighbours, "samples": samples}
    of_probe = {name: value for name, value in given.items() if value is not None}
    _refuse_mixed(
        {"--probe": probe, "--exits": exits, "--analysis": analysis},
        {**of_probe, "twin": twin, "tolerance": tolerance},
        split,
        {"device": device, "devices": devices},
    )
    if exits:
        _exits(run_dir, overrides, tolerance, as_json)
        return 0
    if analysis:
        _analysis(run_dir, overrides, twin, samples, split or "test", as_json)
        return 0
    split, place = split or "test", {"device": device or "auto", "devices": devices or 1}
    rank = _rank(devices or 1)
    try:
        if probe:
            metrics = _probe(run_dir, split, overrides, {**of_probe, **place}, quiet=rank > 0)
        else:
            metrics = _evaluate(run_dir, split, overrides, place)
    except (UserError, RunError) as error:
        return failed(error, rank)
    if rank == 0:  # all ranks have the same numbers
        _print(run_dir, metrics, split, as_json)
        if not (run_dir / RESULTS).is_file():
            click.echo(_unfinished(run_dir), err=as_json)
    return 0


def _rank(devices: int) -> int:
    """Return the rank of this process."""
    from ffcore.ranks import where
    from ffcore.recipe.trainer import TrainerConfig

    return where.rank(TrainerConfig(devices=devices))


def _print(run_dir: Path, metrics: dict[str, Any], split: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(metrics, indent=2))
        return
    click.echo(f"{run_dir}, {split} split, {metrics['samples']} samples")
    if "fitted_on" in metrics:
        _print_probes(metrics)
        return
    if "per_block" in metrics:
        _print_measures(metrics)
    else:
        click.echo(f"  accuracy {100 * metrics['accuracy']:.2f} %   error {metrics['error']:.2f} %")
        for name, accuracy in metrics["per_block_accuracy"].items():
            click.echo(f"  {plain(name):12} {100 * accuracy:.2f} %")
    for name, mean in metrics["measures"].items():
        click.echo(f"  {plain(name)} {mean:.4f}")


_OF = {
    "neighbours": ("--probe",),
    "samples": ("--probe", "--analysis"),
    "tolerance": ("--exits",),
    "twin": ("--analysis",),
}
"""The evaluations that an option belongs to."""


def _refuse_mixed(
    chosen: Mapping[str, bool], of_one: Mapping[str, Any], split: str | None, place: Mapping[str, Any]
) -> None:
    """Raise if two evaluations are asked for, or options of another one.

    Raises:
        UserError: with the option.
    """
    names = [name for name, is_chosen in chosen.items() if is_chosen]
    if len(names) > 1:
        other = names[0]
        why = "it measures both splits" if names[1] == "--exits" else "it is an evaluation of its own"
        raise UserError(f"{names[1]}: leave {other} out; {why}")
    for name, value in of_one.items():
        if value is not None and not set(names) & set(_OF[name]):
            raise UserError(f"--{name} needs {' or '.join(_OF[name])}")
    for name, value in place.items():
        if value is not None and names and names != ["--probe"]:
            raise UserError(f"{names[0]}: leave --{name} out; it is measured on the CPU, by one process")
    if names == ["--exits"] and split is not None:
        raise UserError("--exits: leave --split out; it measures both splits")
    if names == ["--analysis"] and split not in (None, "test", "val"):
        raise UserError(f"--analysis: --split {split}: should be test or val")


def _print_measures(metrics: dict[str, Any]) -> None:
    """Print the measures of another task than classification, and the headline of each block."""
    others = ("split", "samples", "per_block", "measures")
    for name, value in metrics.items():
        if name not in others:
            click.echo(f"  {name} {number(value)}")
    for name, value in metrics["per_block"].items():
        click.echo(f"  {plain(name):12} {number(value)}")


def _evaluate(run_dir: Path, split: str, overrides: tuple[str, ...], place: dict[str, Any]) -> dict[str, Any]:
    from ffcore.run.evaluate import evaluate

    return evaluate(run_dir, split, overrides, **place)


def _probe(
    run_dir: Path, split: str, overrides: tuple[str, ...], keywords: dict[str, Any], *, quiet: bool
) -> dict[str, Any]:
    from rich.console import Console
    from rich.text import Text

    from ffcore.run.probe import probe

    # the status goes to stderr, so that --json can be piped
    with Console(stderr=True, quiet=quiet).status("probing") as status:
        return probe(
            run_dir,
            split,
            overrides,
            **keywords,
            tell=lambda name: status.update(Text(f"probing {plain(name)}")),
        )


def _exits(run_dir: Path, overrides: tuple[str, ...], tolerance: float | None, as_json: bool) -> None:
    """Choose early exits and print them; the file ``exits.json`` is written into the run directory."""
    from rich.console import Console

    from ffcore.cli.console import print_table
    from ffcore.report.exits import EXIT_COLUMNS, WAY_COLUMNS, exit_rows, notes, way_rows
    from ffcore.run.exits import TOLERANCE, choose_exits

    with Console(stderr=True).status("early exits") as status:
        chosen = choose_exits(
            run_dir, TOLERANCE if tolerance is None else tolerance, overrides, status.update
        )
    if as_json:
        click.echo(json.dumps(chosen.as_json(), indent=2))
        return
    click.echo(f"{run_dir}, early exits")
    print_table(WAY_COLUMNS, way_rows(chosen))
    print_table(EXIT_COLUMNS, exit_rows(chosen))
    for line in notes(chosen):
        click.echo(line)
    click.echo(f"written: {run_dir / EXITS}; {_next(run_dir, 'the curve')}")


def _analysis(
    run_dir: Path,
    overrides: tuple[str, ...],
    twin: Path | None,
    samples: int | None,
    split: str,
    as_json: bool,
) -> None:
    """Analyse a run and print the tables; the file ``analysis.json`` is written into the run directory."""
    from rich.console import Console
    from rich.text import Text

    from ffcore.cli.console import print_table
    from ffcore.report.analysis import tables
    from ffcore.run.analysis import SAMPLES, analyse_run

    with Console(stderr=True).status("analysis") as status:
        made = analyse_run(
            run_dir,
            overrides,
            twin=None if twin is None else str(twin),
            samples=SAMPLES if samples is None else samples,
            split=split,
            tell=lambda name: status.update(Text(f"analysis: {plain(name)}")),
        )
    if as_json:
        click.echo(json.dumps(made.as_json(), indent=2))
        return
    click.echo(f"{run_dir}, analysis of {made.samples} samples of the {split} split")
    for table in tables(made):
        click.echo(f"\n{table.title}")
        if table.rows:
            print_table(table.columns, [[plain(cell) for cell in row] for row in table.rows])
        for line in table.notes:
            click.echo(line)
    click.echo(f"\nwritten: {run_dir / ANALYSIS}; {_next(run_dir, 'the pictures')}")


def _unfinished(run_dir: Path) -> str:
    """Return how far a run is that is not finished, and the command that resumes it."""
    from ffcore.run import checkpoints
    from ffcore.run.recorded import recorded

    trainer = recorded(run_dir).trainer
    state = checkpoints.read(run_dir / CHECKPOINTS / f"{trainer.select}.ckpt")
    again = manager.command("run", "--resume", str(run_dir))
    return (
        f"the run is not finished: its checkpoint is that of epoch {state['ffcore']['epochs']} of "
        f"{trainer.max_epochs}; resume it with `{again}`"
    )


def _next(run_dir: Path, what: str) -> str:
    """Return what shows what was measured, or that it will not last."""
    if (run_dir / RESULTS).is_file():
        return f"ffcore report {run_dir} shows {what}"
    return "resuming the run, which is not finished, removes it"


def _print_probes(metrics: dict[str, Any]) -> None:
    from ffcore.cli.console import print_table

    click.echo(
        f"probes fitted on {metrics['fitted_on']} samples of {metrics['data']}; accuracy in percent of "
        f"a linear probe and of the {metrics['neighbours']} nearest neighbours"
    )
    rows = [("input", "", metrics["input"])]
    for name, parts in metrics["blocks"].items():
        rows += [(name, part, parts[part]) for part in ("handoff", "activity")]
    print_table(
        ("block", "of", "features", "linear", "neighbours", "l2"),
        [
            (
                name,
                part,
                str(f["features"]),
                *(f"{100 * f[k]:.2f}" for k in ("linear", "neighbours")),
                f"{f['l2']:g}",
            )
            for name, part, f in rows
        ],
    )
