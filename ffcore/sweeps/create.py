"""Begins sweeps: from the arguments of the command or of `ffcore.sweep` to a directory with a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ffcore.errors import UserError, closest, shortened
from ffcore.plugin import manager
from ffcore.recipe.load import load
from ffcore.run import directory
from ffcore.run.recorded import explained
from ffcore.sweeps import grid, ranges
from ffcore.sweeps import search as searches
from ffcore.sweeps.search import CHOSEN, SAMPLERS, Search
from ffcore.sweeps.sweep import RECIPE, Sweep
from ffcore.sweeps.wording import either, option


def create(
    recipe: str,
    overrides: Sequence[str],
    seeds: Sequence[int] = (),
    options: Mapping[str, Any] | None = None,
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
        options: of a search, the values of `ffcore.sweeps.search.CHOSEN`; those that are None were not given.
        run_dir: an empty or new directory; None for ``runs/<recipe>-<time>``.
        command: the command line that starts the sweep.
        report: whether each run writes its own report.

    Raises:
        UserError: an argument or one of the recipes is not valid; nothing has been written.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    trials = option("trials", "N")
    if "trials" in given:
        return _search(recipe, overrides, seeds, given, run_dir, command, report)
    for name in CHOSEN:
        if name in given and given[name] is not False:
            raise UserError(f"{option(name)} needs a search: give ranges and {trials}")
    refuse_ranges(recipe, overrides, f"needs {trials}, the number of points to try")
    runs = grid.plan(recipe, overrides, seeds)
    if not runs:
        several = either("an override with several values", "a list of values in search")
        seeds_too = option("seeds", "1,2", "[1, 2]")
        raise UserError(f"nothing to sweep: give {several}, {seeds_too}, or a range with {trials}")
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
    from ffcore.sweeps.checking import checker

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
    given: Mapping[str, Any],
    run_dir: Path | None,
    command: str | None,
    report: bool,
) -> Sweep:
    _refuse_trials(given["trials"])
    if (sampler := given.get("sampler", SAMPLERS[0])) not in SAMPLERS:
        hint = closest(str(sampler), SAMPLERS)
        raise UserError(f"{option('sampler')}: {shortened(sampler)} should be tpe or random{hint}")
    searched, rest = searches.plan(recipe, overrides)
    if not searched:
        range_too = either(
            "an override such as optimizer.lr=log:1e-4:1e-1",
            'a range such as "optimizer.lr": "log:1e-4:1e-1"',
        )
        raise UserError(f"{option('trials')} needs a search: {range_too}")
    grid.refuse_twice([f"seed={seed}" for seed in seeds])
    if seeds and "seed" in map(grid.path_of, rest):
        raise UserError(f"seed: {option('seeds')} are given, and it is set by an override")
    from ffcore.sweeps import study as studies  # before data are read: Optuna may be missing

    directory.check(run_dir)
    from ffcore.sweeps.checking import checker

    runs = searches.tried(searched, rest, seeds)
    name, headline, lower = searches.checked(recipe, runs, checker())
    url = studies.absolute_url(given["storage"]) if "storage" in given else None
    try:
        search = Search(
            **{"study": name, **{key: given[key] for key in given if key != "storage"}},
            ranges={path: str(one) for path, one in searched.items()},
            overrides=searches.fixed(rest, runs[0]),
            seeds=tuple(seeds),
            storage=searches.without_password(url) if url is not None else None,
            url=url,
            headline=headline,
            lower=lower,
            digest=searches.digest_of(runs[0], list(searched)),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise UserError(f"{option(name)}: {shortened(given.get(name))}: {first['msg']}") from error
    shown = searches.without_password(command) if command is not None else None
    base = searches.base_of(recipe, rest, runs[0])
    return _written(Sweep(Path(), recipe, [], shown, report, search), name, run_dir, base)


def _refuse_trials(trials: int) -> None:
    if trials < 1:
        raise UserError(f"{option('trials')}: {trials} should be 1 or more")


def _written(sweep: Sweep, name: str, run_dir: Path | None, base: str | None = None) -> Sweep:
    """Write the directory of a sweep, and the study of a search."""
    existing = directory.nearest(run_dir)
    sweep.folder = directory.create(run_dir, name)
    with directory.undone(sweep.folder, existing):
        if base is not None:
            directory.write_text(sweep.folder / RECIPE, base)
        sweep.begin()
        if sweep.search is not None:
            from ffcore.sweeps.study import Study

            Study(sweep.search, sweep.recipe, sweep.folder, begun=False).close()
    return sweep


def reopened(folder: Path, *, trials: int | None = None, storage: str | None = None) -> Sweep:
    """Read a sweep that is to be resumed.

    Args:
        folder: its directory.
        trials: of a search, its new number of trials.
        storage: of a search, the URL of its storage, if that has moved or has a password.

    Raises:
        UserError: it is no sweep, an option does not fit it, or a recipe that it has still to run is not
            valid, for example since a plugin is not loaded.
    """
    sweep = Sweep.read(folder)
    if sweep.search is None:
        for name, value in (("trials", trials), ("storage", storage)):
            if value is not None:
                raise UserError(f"{option(name)}: {folder} is a grid, not a search")
        _refuse_invalid(sweep)
        return sweep
    if trials is not None:
        _refuse_trials(trials)
        had = sum(trial.state != "running" for trial in sweep.search.found)
        if trials < had:
            raise UserError(f"{option('trials')}: {trials}: the search has had {had} trials; give more")
        sweep.search.trials = trials
    if storage is not None:
        from ffcore.sweeps.study import absolute_url

        sweep.search.url = absolute_url(storage)
        sweep.search.storage = searches.without_password(sweep.search.url)
    elif f":{searches.HIDDEN}@" in (sweep.search.storage or ""):
        needed = option("storage", "URL")
        raise UserError(
            f"{folder}: the password of its storage {sweep.search.storage} is not stored: give {needed}"
        )
    _refuse_invalid(sweep)
    return sweep


def _refuse_invalid(sweep: Sweep) -> None:
    """Raise if a recipe that a sweep has still to run is not valid; otherwise its runs would fail for good.

    Raises:
        UserError: with the plugin that is not loaded, if that is the reason.
    """
    search = sweep.search
    try:
        with manager.current().of_other_processes():  # that of a run
            for run in sweep.runs:
                given_up = search is not None and sweep.state(run) in ("pruned", "failed")
                if sweep.results(run) is None and not given_up:
                    load(str(sweep.recipe_of(run)))
            if search is not None and sum(one.state != "running" for one in search.found) < search.trials:
                tried = searches.tried(search.parsed(), search.overrides, search.seeds)
                grid.check(str(sweep.folder / RECIPE), tried, lambda recipe: None)
    except UserError as error:
        raise explained(error, sweep.folder, sweep.command) from None
