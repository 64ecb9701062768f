"""``ffcore run``: train a recipe, once or several times, or go on with what was stopped."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ffcore.plugin import manager
from ffcore.recipe.trainer import WHERE, says_where

if TYPE_CHECKING:
    from ffcore.run.sweep import Sweep


@dataclass(frozen=True)
class Duration:
    """A time as it was written, and in seconds."""

    text: str
    seconds: float


_DURATION = re.compile(r"(\d+)s?|(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> Duration | None:
    if value is None:
        return None
    found = _DURATION.fullmatch(value)
    alone, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else [0] * 4
    total = alone + 3600 * hours + 60 * minutes + seconds
    if not total:
        raise click.BadParameter(f"{value!r} is no time; write seconds, or 90s, 30m, 2h, 1h30m.", ctx, param)
    return Duration(value, total)


def _seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    if value is None:
        return ()
    words = [word.strip() for word in value.split(",")]
    if not all(word.isdecimal() and word.isascii() for word in words):
        said = f"{value!r} should be whole numbers with commas between, such as 1,2,3."
        raise click.BadParameter(said, ctx, param)
    return tuple(map(int, words))


@click.command(name="run")
@click.argument("recipe", required=False)
@click.argument("overrides", nargs=-1)
@click.option("--run-dir", type=click.Path(path_type=Path), help="an empty or new folder for the results")
@click.option("--seeds", callback=_seeds, metavar="1,2,…", help="run once with each, and summarise")
@click.option("--jobs", type=click.IntRange(min=1), help="of several runs: how many at the same time")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN_DIR", help="resume what was stopped")
@click.option(
    "--max-time", callback=_duration, metavar="TIME", help="stop after 90s, 30m, 1h30m; --resume goes on"
)
@click.option(
    "--report/--no-report",
    default=None,
    help="write report.html and report.md; without either, one run does and several do not",
)
@click.pass_context
def command(
    ctx: click.Context,
    recipe: str | None,
    overrides: tuple[str, ...],
    run_dir: Path | None,
    seeds: tuple[int, ...],
    jobs: int | None,
    resume: Path | None,
    max_time: Duration | None,
    report: bool | None,
) -> int:
    """Train RECIPE, with OVERRIDES such as trainer.max_epochs=2, and write a run folder.

    An override with several values, such as optimizer.lr=1e-3,3e-3, runs once with each. With --resume,
    overrides may say where to go on: trainer.devices=2.
    """
    from ffcore.files import SUMMARY
    from ffcore.run import directory, grid
    from ffcore.run.sweep import Sweep

    if resume is not None:
        if recipe is not None and "=" in recipe:
            overrides = (recipe, *overrides)
            recipe = None
        if run_dir is not None or seeds or not all(map(says_where, overrides)):
            ctx.fail(
                "--resume goes on with a run as it began: no --run-dir or --seeds with it, and of overrides "
                f"only where it runs: {', '.join(f'trainer.{name}' for name in WHERE)}."
            )
        if (resume / SUMMARY).is_file():
            if recipe is not None or overrides:
                said = recipe or overrides[0]
                ctx.fail(f"--resume {resume}: several runs go on as they began: leave out {said!r}.")
            sweep = Sweep.read(resume)
            sweep.report = sweep.report if report is None else report
            return _several(sweep, jobs, max_time)
        if jobs is not None:
            ctx.fail(f"--jobs is for several runs, and {resume} is no folder of several.")
        return _once(recipe, overrides, resume, max_time, ctx.obj["command"], report, resume=True)
    if recipe is None:
        ctx.fail("Missing argument 'RECIPE'.")
    # before torch is imported: a typing error answers at once
    members = grid.plan(recipe, overrides, seeds)
    if not members:
        if jobs is not None:
            ctx.fail("--jobs is for several runs: --seeds 1,2 or an override with several values.")
        return _once(recipe, overrides, run_dir, max_time, ctx.obj["command"], report)
    directory.check(run_dir)

    from ffcore.run.train import checker

    name = grid.check(recipe, members, checker())
    there = directory.nearest(run_dir)
    folder = directory.create(run_dir, name)
    sweep = Sweep(folder, recipe, members, ctx.obj["command"], report is True)
    with directory.undone(sweep.folder, there):
        sweep.begin()
    return _several(sweep, jobs, max_time)


def _once(
    name: str | None,
    overrides: tuple[str, ...],
    run_dir: Path | None,
    max_time: Duration | None,
    command: str,
    report: bool | None,
    *,
    resume: bool = False,
) -> int:
    """One run, in this process."""
    from ffcore import files
    from ffcore.ranks import where
    from ffcore.recipe.load import load
    from ffcore.run import directory

    config = run_dir / files.CONFIG if resume and run_dir is not None else None
    recipe = load(name, () if resume else overrides) if name is not None else None
    known = load(str(config), overrides) if config is not None and config.is_file() else recipe
    rank = where.rank(known.trainer) if known is not None else 0
    if not resume and rank == 0 and not where.started_by_others():
        directory.check(run_dir)

    from rich.console import Console

    from ffcore.errors import RunError, TimeUpError, UserError
    from ffcore.report.table import results_table
    from ffcore.run.resume import resume as resume_run
    from ffcore.run.train import train

    console = Console(quiet=rank > 0)  # the first rank speaks for all
    seconds = max_time.seconds if max_time is not None else None
    drawn = report is not False
    options: Any = {"console": console, "command": command, "max_time": seconds, "report": drawn}
    try:
        if resume:
            assert run_dir is not None
            run = resume_run(run_dir, recipe=recipe, overrides=overrides, **options)
        else:
            assert recipe is not None
            run = train(recipe, run_dir, **options)
    except TimeUpError as over:
        if rank == 0:
            _tell_stopped(max_time, over.path)
        return 0
    except (UserError, RunError) as error:
        if rank == 0:
            raise
        if not error.everywhere:
            click.echo(f"rank {rank}: error: {error}", err=True)
        return 1
    console.print(results_table(run.results))
    if drawn:
        files_made = {"page": "report.html", "report": "report.md", "picture": "overview.png"}
        lines = [f"{what:9} {run.path / file}" for what, file in files_made.items()]
    else:
        again = manager.command("report", str(run.path))
        lines = [f"folder    {run.path}", f"report    none yet; `{again}` makes it"]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


def _several(sweep: Sweep, jobs: int | None, max_time: Duration | None) -> int:
    """The members of a sweep, a process each."""
    from ffcore.cli.sweeps import print_sweep
    from ffcore.run import many

    program = [sys.executable, "-m", "ffcore", *manager.options()]
    code = many.launch(
        sweep,
        program,
        jobs=jobs or 1,
        max_time=max_time.seconds if max_time is not None else None,
        tell=click.echo,
    )
    print_sweep(sweep)
    if code == 130:
        click.echo(f"interrupted: {_goes_on(sweep.folder)}", err=True)
    elif max_time is not None and any(sweep.results(member) is None for member in sweep.members):
        _tell_stopped(max_time, sweep.folder)
    return code


def _tell_stopped(max_time: Duration | None, folder: Path) -> None:
    after = f" after {max_time.text}" if max_time is not None else ""
    click.echo(f"stopped{after}: {_goes_on(folder)}")


def _goes_on(folder: Path) -> str:
    return f"{folder} goes on with `{manager.command('run', '--resume', str(folder))}`"
