"""``ffcore sweep``: a search over ranges of parameters, a grid, or several seeds."""

from __future__ import annotations

from pathlib import Path

import click

from ffcore.cli import options
from ffcore.cli.folder import Folder


@click.command(name="sweep")
@click.argument("recipe", required=False)
@click.argument("overrides", nargs=-1)
@click.option("--trials", type=click.IntRange(1, 1_000_000), metavar="N", help="a search: N points in all")
@click.option("--seeds", callback=options.seeds, metavar="1,2,…", help="every point runs once per seed")
@click.option("--jobs", type=click.IntRange(1, 1024), help="runs at the same time; if resumed, as before")
@click.option("--prune", is_flag=True, help="stop trials that validate worse than the median")
@click.option("--sampler", metavar="tpe|random", help="how points are chosen; the default is tpe")
@click.option("--seed", type=click.IntRange(0, 2**31), help="of the sampler; the default is 0")
@click.option("--storage", metavar="URL", help="Optuna's storage, for several workers; default: a file")
@click.option("--study", metavar="NAME", help="name of the study; the default is that of the recipe")
@click.option("--run-dir", type=Folder(), help="an empty or new directory for the results")
@click.option("--resume", type=Folder(), metavar="DIRECTORY", help="resume a sweep")
@click.option(
    "--max-time",
    callback=options.duration,
    metavar="TIME",
    help="stop after 90s, 30m, 1h30m; resume it with --resume",
)
@click.option("--report/--no-report", default=None, help="write a report of every run; the default is no")
@click.pass_context
def command(
    ctx: click.Context,
    recipe: str | None,
    overrides: tuple[str, ...],
    trials: int | None,
    seeds: tuple[int, ...],
    jobs: int | None,
    prune: bool,
    sampler: str | None,
    seed: int | None,
    storage: str | None,
    study: str | None,
    run_dir: Path | None,
    resume: Path | None,
    max_time: options.Duration | None,
    report: bool | None,
) -> int:
    """Train RECIPE at many points, and compare them on validation data.

    With --trials, OVERRIDES such as optimizer.lr=log:1e-4:1e-1, optimizer.weight_decay=linear:0:0.1,
    data.batch_size=int:10:100 or optimizer=choice:adam,sgd are searched. Without it, overrides with several
    values, such as optimizer.lr=1e-3,3e-3, make a grid.
    """
    from ffcore.cli.sweeps import run_sweep
    from ffcore.sweeps import create

    if resume is not None:
        others = {"--seeds": seeds, "--run-dir": run_dir, "--prune": prune, "--sampler": sampler}
        given = [
            name
            for name, value in (others | {"--seed": seed, "--study": study}).items()
            if value not in (None, "", ()) and value is not False
        ]
        if recipe is not None or given:
            ctx.fail(f"--resume {resume}: a sweep keeps its recipe and options: remove {recipe or given[0]}.")
        sweep = create.reopened(resume, trials=trials, storage=storage)
        sweep.report = sweep.report if report is None else report
        return run_sweep(sweep, jobs, max_time)
    if recipe is None:
        ctx.fail("Missing argument 'RECIPE'.")
    given_options = {"trials": trials, "prune": prune, "sampler": sampler}
    sweep = create.create(
        recipe,
        overrides,
        seeds,
        given_options | {"seed": seed, "storage": storage, "study": study},
        run_dir=run_dir,
        command=ctx.obj["command"],
        report=report is True,
    )
    return run_sweep(sweep, jobs, max_time)
