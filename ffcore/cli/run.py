"""``ffcore run``: trains a recipe, as one run or a sweep, or resumes a run or a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ffcore.cli import options
from ffcore.cli.folder import Folder
from ffcore.cli.ranks import failed
from ffcore.cli.sweeps import print_stopped, run_sweep
from ffcore.plugin import manager
from ffcore.recipe.trainer import WHERE_PATHS, says_where

if TYPE_CHECKING:
    from ffcore.recipe.schema import Recipe


@click.command(name="run")
@click.argument("recipe", required=False)
@click.argument("overrides", nargs=-1)
@click.option("--run-dir", type=Folder(), help="an empty or new directory for the results")
@click.option(
    "--seeds", callback=options.seeds, metavar="1,2,…", help="a sweep: one run per seed, and a summary"
)
@click.option("--jobs", type=click.IntRange(1, 1024), help="of a sweep: number of runs at the same time")
@click.option("--resume", type=Folder(), metavar="RUN_DIR", help="resume a run or a sweep")
@click.option(
    "--auto-resume",
    is_flag=True,
    help="if --run-dir has a run of RECIPE, resume it; for launchers that repeat a command",
)
@click.option(
    "--max-time",
    callback=options.duration,
    metavar="TIME",
    help="stop after 90s, 30m, 1h30m; resume it with --resume",
)
@click.option(
    "--report/--no-report",
    default=None,
    help="write report.html and report.md; the default is yes for one run, no for a sweep",
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
    auto_resume: bool,
    max_time: options.Duration | None,
    report: bool | None,
) -> int:
    """Train RECIPE, with OVERRIDES such as trainer.max_epochs=2, and write a run directory.

    An override with several values, such as optimizer.lr=1e-3,3e-3, makes a sweep with a run per value. With
    --resume, overrides may change where the run computes: trainer.devices=2.
    """
    from ffcore.files import CONFIG, SUMMARY
    from ffcore.sweeps import create, grid

    if auto_resume and (run_dir is None or resume is not None):
        ctx.fail("--auto-resume needs --run-dir RUN_DIR, in place of --resume.")
    if resume is not None:
        if recipe is not None and "=" in recipe:  # click has taken the first override for RECIPE
            overrides = (recipe, *overrides)
            recipe = None
        if run_dir is not None or seeds or not all(map(says_where, overrides)):
            ctx.fail(
                "a resumed run keeps its recipe: --resume takes no --run-dir or --seeds, and only these "
                f"overrides: {', '.join(WHERE_PATHS)}."
            )
        if (resume / SUMMARY).is_file():
            if recipe is not None or overrides:
                given = recipe or overrides[0]
                ctx.fail(f"--resume {resume}: a resumed sweep keeps its recipe: remove {given!r}.")
            sweep = create.reopened(resume)
            sweep.report = sweep.report if report is None else report
            return run_sweep(sweep, jobs, max_time)
        if jobs is not None:
            ctx.fail(f"--jobs needs a sweep, and {resume} is not the directory of a sweep.")
        return _once(recipe, overrides, resume, max_time, ctx.obj["command"], report, resume=True)
    if recipe is None:
        ctx.fail("Missing argument 'RECIPE'.")
    # This needs no torch, whose import takes seconds: a typing error is reported at once.
    create.refuse_ranges(recipe, overrides, "is searched by `ffcore sweep … --trials N`")
    runs = grid.plan(recipe, overrides, seeds)
    if not runs:
        if jobs is not None:
            ctx.fail("--jobs needs a sweep: --seeds 1,2 or an override with several values.")
        if auto_resume and run_dir is not None and (run_dir / CONFIG).is_file():
            return _again(recipe, overrides, run_dir, max_time, ctx.obj["command"], report)
        return _once(recipe, overrides, run_dir, max_time, ctx.obj["command"], report)
    if auto_resume:
        ctx.fail("--auto-resume is for one run; resume a sweep with --resume.")
    sweep = create.of_grid(recipe, runs, run_dir=run_dir, command=ctx.obj["command"], report=report is True)
    return run_sweep(sweep, jobs, max_time)


def _again(
    name: str,
    overrides: tuple[str, ...],
    run_dir: Path,
    max_time: options.Duration | None,
    command: str,
    report: bool | None,
) -> int:
    """Resume the run that the same command has begun; of a finished run print the results."""
    from ffcore.files import RESULTS
    from ffcore.ranks import where
    from ffcore.recipe.load import load

    recipe = load(name, overrides)
    if not (run_dir / RESULTS).is_file():
        here = tuple(each for each in overrides if each.startswith("trainer.") and says_where(each))
        return _once(recipe, here, run_dir, max_time, command, report, resume=True)

    from ffcore.cli.console import Plain
    from ffcore.report.results import read_results
    from ffcore.report.table import results_table
    from ffcore.run.recorded import recipe_of
    from ffcore.run.resume import refuse_another

    refuse_another(run_dir, recipe_of(run_dir), recipe)
    console = Plain(quiet=where.rank(recipe.trainer) > 0)
    console.print(results_table(read_results(run_dir)))
    console.print(f"directory {run_dir}: the run was finished already", soft_wrap=True)
    return 0


def _once(
    given: str | Recipe | None,
    overrides: tuple[str, ...],
    run_dir: Path | None,
    max_time: options.Duration | None,
    command: str,
    report: bool | None,
    *,
    resume: bool = False,
) -> int:
    """Train or resume one run in this process."""
    from ffcore import files
    from ffcore.ranks import where
    from ffcore.recipe.load import load
    from ffcore.run import directory
    from ffcore.run.recorded import recipe_of

    # The rank depends on the trainer's options, which are in the recipe or in the run's config.
    recipe = load(given, () if resume else overrides) if isinstance(given, str) else given
    known = recipe
    if run_dir is not None and resume and (run_dir / files.CONFIG).is_file():
        known = recipe_of(run_dir, overrides)
    rank = where.rank(known.trainer) if known is not None else 0
    if not resume and rank == 0 and not where.started_by_others():
        directory.check(run_dir)

    from ffcore.cli.console import Plain
    from ffcore.errors import RunError, TimeUpError, UserError
    from ffcore.report.table import results_table
    from ffcore.run.resume import resume as resume_run
    from ffcore.run.train import train

    console = Plain(quiet=rank > 0)  # only rank 0 prints
    seconds = max_time.seconds if max_time is not None else None
    with_report = report is not False
    keywords: Any = {"console": console, "command": command, "max_time": seconds, "report": with_report}
    try:
        if resume:
            assert run_dir is not None
            run = resume_run(run_dir, recipe=recipe, overrides=overrides, **keywords)
        else:
            assert recipe is not None
            run = train(recipe, run_dir, **keywords)
    except TimeUpError as over:
        if rank == 0:
            print_stopped(max_time, over.path)
        return 0
    except (UserError, RunError) as error:
        return failed(error, rank)
    console.print(results_table(run.results))
    if with_report:
        files_made = {"page": "report.html", "report": "report.md", "picture": "overview.png"}
        lines = [f"{what:9} {run.path / file}" for what, file in files_made.items()]
    else:
        again = manager.command("report", str(run.path))
        lines = [f"directory {run.path}", f"report    not written; `{again}` writes it"]
    for line in lines:
        console.print(line, soft_wrap=True)
    return 0
