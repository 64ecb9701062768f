"""Begins sweeps: from the arguments of the command or of `ffcore.sweep` to a directory with a summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ffcore.errors import UserError, closest, shortened
from ffcore.run import directory, grid, ranges
from ffcore.run import search as searches
from ffcore.run.search import SAMPLERS, Search
from ffcore.run.sweep import RECIPE, Sweep


@dataclass(frozen=True)
class Options:
    """The options of a search, as they were given; None for those that were not.

    Attributes:
        trials: number of trials of the study, by all workers together.
        prune: stop trials that are worse than the median.
        sampler: "tpe" or "random".
        seed: seed of the sampler.
        storage: URL of Optuna's storage.
        study: name of the study.
    """

    trials: int | None = None
    prune: bool | None = None
    sampler: str | None = None
    seed: int | None = None
    storage: str | None = None
    study: str | None = None


def begin(
    recipe: str,
    overrides: Sequence[str],
    seeds: Sequence[int] = (),
    options: Options | None = None,
    *,
    run_dir: Path | None = None,
    command: str | None = None,
    report: bool = False,
) -> Sweep:
    """Check a sweep, and write its directory.

    Args:
        recipe: name or path of the recipe.
        overrides: with several values, or with ranges for a search.
        seeds: one run per seed; of a search, for each trial.
        options: of a search.
        run_dir: an empty or new directory; None for ``runs/<recipe>-<time>``.
        command: the command line that starts the sweep.
        report: whether each run writes its own report.

    Raises:
        UserError: an argument or one of the recipes is not valid; nothing has been written.
    """
    options = options or Options()
    if options.trials is not None:
        return _search(recipe, overrides, seeds, options, run_dir, command, report)
    for name in ("prune", "sampler", "seed", "storage", "study"):
        value = getattr(options, name)
        if value is not None and value is not False:
            raise UserError(f"--{name} needs a search: give ranges and --trials N")
    refuse_ranges(recipe, overrides, "needs --trials N, the number of points to try")
    runs = grid.plan(recipe, overrides, seeds)
    if not runs:
        raise UserError(
            "nothing to sweep: give an override with several values, --seeds 1,2, or a range with --trials N"
        )
    return of_grid(recipe, runs, run_dir=run_dir, command=command, report=report)


def of_grid(
    recipe: str,
    runs: list[grid.SweepRun],
    *,
    run_dir: Path | None = None,
    command: str | None = None,
    report: bool = False,
) -> Sweep:
    """Check the runs of a grid, and write their directory.

    Raises:
        UserError: one of the recipes is not valid, or the directory cannot be used; nothing has been written.
    """
    directory.check(run_dir)
    from ffcore.run.checking import checker

    name = grid.check(recipe, runs, checker())
    return _written(Sweep(Path(), recipe, runs, command, report), name, run_dir)


def refuse_ranges(recipe: str, overrides: Sequence[str], instead: str) -> None:
    """Raise if an override is a range, and is not valid as a value.

    Raises:
        UserError: with ``instead``, which says what a range needs.
    """
    for index, override in enumerate(overrides):
        if ranges.known(override) and not grid.loads_as_one(recipe, overrides, overrides, index):
            path, _, text = override.partition("=")
            raise UserError(f"{path.strip()}: the range {shortened(text, 80)} {instead}")


def _search(
    recipe: str,
    overrides: Sequence[str],
    seeds: Sequence[int],
    options: Options,
    run_dir: Path | None,
    command: str | None,
    report: bool,
) -> Sweep:
    if (trials := options.trials or 0) < 1:
        raise UserError(f"--trials: {options.trials} should be 1 or more")
    sampler = options.sampler or "tpe"
    if sampler not in SAMPLERS:
        raise UserError(
            f"--sampler: {shortened(sampler)} should be tpe or random{closest(sampler, SAMPLERS)}"
        )
    searched, rest = searches.plan(recipe, overrides)
    if not searched:
        raise UserError("--trials needs a search: an override such as optimizer.lr=log:1e-4:1e-1")
    grid.refuse_twice([f"seed={seed}" for seed in seeds])
    if seeds and "seed" in map(grid.path_of, rest):
        raise UserError("seed: --seeds are given, and it is set by an override")
    from ffcore.run import study as studies  # before data are read: Optuna may be missing

    directory.check(run_dir)
    from ffcore.run.checking import checker

    runs = searches.tried(searched, rest, seeds)
    name, headline, lower = searches.checked(recipe, runs, checker())
    url = studies.absolute_url(options.storage) if options.storage is not None else None
    search = Search(
        ranges={path: str(one) for path, one in searched.items()},
        overrides=searches.fixed(rest, runs[0]),
        seeds=tuple(seeds),
        trials=trials,
        prune=bool(options.prune),
        sampler=sampler,
        seed=options.seed or 0,
        storage=searches.without_password(url) if url is not None else None,
        url=url,
        study=options.study or name,
        headline=headline,
        lower=lower,
        digest=searches.digest_of(runs[0], list(searched)),
    )
    shown = searches.without_password(command) if command is not None else None
    base = searches.base_of(recipe, rest, runs[0])
    return _written(Sweep(Path(), recipe, [], shown, report, search), name, run_dir, base)


def _written(sweep: Sweep, name: str, run_dir: Path | None, base: str | None = None) -> Sweep:
    """Write the directory of a sweep, and the study of a search."""
    existing = directory.nearest(run_dir)
    sweep.folder = directory.create(run_dir, name)
    with directory.undone(sweep.folder, existing):
        if base is not None:
            directory.write_text(sweep.folder / RECIPE, base)
        sweep.begin()
        if sweep.search is not None:
            from ffcore.run.study import Study

            Study(sweep.search, sweep.recipe, sweep.folder, begun=False).close()
    return sweep


def reopened(folder: Path, *, trials: int | None = None, storage: str | None = None) -> Sweep:
    """Read a sweep that is to be resumed.

    Args:
        folder: its directory.
        trials: of a search, its new number of trials.
        storage: of a search, the URL of its storage, if that has moved or has a password.

    Raises:
        UserError: it is no sweep, or an option does not fit it.
    """
    sweep = Sweep.read(folder)
    if sweep.search is None:
        for option, value in (("--trials", trials), ("--storage", storage)):
            if value is not None:
                raise UserError(f"{option}: {folder} is a grid, not a search")
        return sweep
    if trials is not None:
        if trials < 1:
            raise UserError(f"--trials: {trials} should be 1 or more")
        sweep.search.trials = trials
    if storage is not None:
        from ffcore.run.study import absolute_url

        sweep.search.url = absolute_url(storage)
        sweep.search.storage = searches.without_password(sweep.search.url)
    elif f":{searches.HIDDEN}@" in (sweep.search.storage or ""):
        raise UserError(
            f"{folder}: the password of its storage {sweep.search.storage} is not stored: give --storage URL"
        )
    return sweep
