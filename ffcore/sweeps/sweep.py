"""A sweep: its directory, the state of its runs, and its summary. Does not import torch."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ffcore.errors import UserError
from ffcore.files import RESULTS, SUMMARY
from ffcore.reading import read_json
from ffcore.report.results import read_results
from ffcore.report.text import NOTHING, clock, count, markdown_table
from ffcore.run import directory
from ffcore.sweeps import comparing
from ffcore.sweeps.grid import SweepRun
from ffcore.sweeps.record import Summary
from ffcore.sweeps.search import Search

INTERRUPTED = 130
"""Exit status of a run that was interrupted and wrote a checkpoint."""
FORMAT = 2
"""Version of ``summary.json``; a newer version cannot be read. A grid is still written in format 1."""
PICTURE = "summary.png"
DEVIATION = "± is the sample standard deviation over seeds"
RECIPE = "recipe.yaml"
"""In the directory of a search: its recipe, without overrides and values."""


@dataclass
class Sweep:
    """The directory of a sweep. ``summary.json`` lists all runs, from before the first one starts.

    The directory also has the complete recipe of each run, so that the sweep can be resumed from any
    directory.

    Attributes:
        folder: the directory of the sweep.
        recipe: name or path of the recipe.
        runs: the runs in the order of the grid; the seed varies fastest.
        command: the command line that started the sweep.
        report: whether each run writes its own report.
        search: what is searched, and found so far; None for a grid.
        jobs: number of runs at the same time.
    """

    folder: Path
    recipe: str
    runs: list[SweepRun]
    command: str | None = None
    report: bool = False
    search: Search | None = None
    jobs: int = 1
    _read: dict[str, tuple[tuple[int, int], dict[str, Any]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def read(cls, folder: Path) -> Sweep:
        """Read the sweep of a directory.

        Raises:
            UserError: its ``summary.json`` is damaged.
        """
        file = folder / SUMMARY
        try:
            content = Summary.model_validate(read_json(file))
        except UserError as error:
            raise UserError(f"{file}: not the summary of a sweep: {error}") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            message = first["msg"].removeprefix("Value error, ")
            where = f"{place}: " if place else ""
            raise UserError(f"{file}: not the summary of a sweep: {where}{message}") from error
        if content.format > FORMAT:
            raise UserError(
                f"{file}: made by a newer version, in format {content.format}; this version reads formats up "
                f"to {FORMAT}: install a newer ffcore"
            )
        runs = [
            SweepRun(
                *(one.folder, one.point, one.overrides, one.seed, one.exit_status, one.error),
                trial=one.trial,
                pruned=one.pruned,
            )
            for one in content.members
        ]
        return cls(
            folder, content.recipe, runs, content.command, content.report, content.search, content.jobs
        )

    def begin(self) -> None:
        """Write the recipes and the summary, before the first run starts."""
        self.add(self.runs)

    def add(self, runs: Iterable[SweepRun]) -> None:
        """Write the recipes of runs, and the summary."""
        for run in runs:
            assert run.recipe is not None, "set by grid.check"
            directory.write_text(self.recipe_of(run), run.recipe)
        self.write()

    def results(self, run: SweepRun) -> dict[str, Any] | None:
        """Returns the content of a run's ``results.json``; None if the run is not finished.

        Raises:
            UserError: the file is damaged.
        """
        path = self.folder / run.name / RESULTS
        if not path.exists():
            return None
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size)
        if (known := self._read.get(run.name)) is None or known[0] != version:
            try:
                known = self._read[run.name] = (version, read_results(path))
            except UserError as error:
                raise UserError(f"{path}: damaged: {error}; delete it to resume the run") from error
        return known[1]

    def metrics(self, run: SweepRun) -> dict[str, Any]:
        """Returns the metrics of a run for the summary; all None if the run is not finished.

        A task other than the classification of samples has its headline as "test" and "val".
        """
        results = self.results(run) or {}
        test, val = results.get("test") or {}, results.get("val") or {}
        metrics = {
            "test_error": test.get("error"),
            "val_accuracy": val.get("accuracy"),
            "epochs": results.get("epochs"),
            "wall_s": results.get("wall_s"),
        }
        if (task := results.get("task")) is not None:
            name = task["headline"]
            metrics |= {"val_accuracy": None, "test": test.get(name), "val": val.get(name)}
        return metrics

    @property
    def task(self) -> dict[str, Any] | None:
        """The task of the finished runs, with its headline; None for the classification of samples."""
        if self.search is not None:  # known without results, of which there may be many
            headline = self.search.headline
            return None if headline is None else {"headline": headline, "lower": self.search.lower}
        found = ((self.results(run) or {}).get("task") for run in self.runs)
        return next((task for task in found if task is not None), None)

    @property
    def digits(self) -> int:
        """Digits after the decimal point of a value: an error in percent has two, a headline four."""
        return 2 if self.task is None else 4

    @property
    def columns(self) -> tuple[str, ...]:
        """The head of the table of `rows`."""
        if self.search is not None:
            from ffcore.sweeps import search_report

            return search_report.columns(self)
        what = "error %" if self.task is None else self.task["headline"]
        return ("run", f"test {what}", f"val. {what}", "epochs", "time")

    def state(self, run: SweepRun) -> str:
        """Returns the state: not started, unfinished, stopped, done, interrupted, failed or pruned."""
        if run.pruned:
            return "pruned"
        if run.status is None:
            return "unfinished" if (self.folder / run.name).exists() else "not started"
        if run.status == 0:
            return "stopped" if self.results(run) is None else "done"
        return "interrupted" if run.status == INTERRUPTED else "failed"

    @property
    def trials(self) -> dict[int, list[SweepRun]]:
        """The runs of each trial of a search, by its number: they differ only in their seeds."""
        found: dict[int, list[SweepRun]] = {}
        for run in self.runs:
            if run.trial is not None:
                found.setdefault(run.trial, []).append(run)
        return found

    def points(self) -> dict[tuple[str, ...], list[SweepRun]]:
        """Returns the runs of each point of the grid: they differ only in their seeds."""
        # groupby needs neighbours: `plan` lets the seed vary fastest
        return {point: list(group) for point, group in itertools.groupby(self.runs, lambda one: one.point)}

    def recipe_of(self, run: SweepRun) -> Path:
        """Returns the path of a run's complete recipe."""
        return self.folder / f"{run.name}.yaml"

    def log_of(self, run: SweepRun) -> Path:
        """Returns the path of a run's output."""
        return self.folder / f"{run.name}.log"

    def mark(self) -> None:
        """Mark all runs that have results as done, also those started by hand.

        Raises:
            UserError: the results of a run are damaged.
        """
        for run in self.runs:
            if self.results(run) is not None:
                run.status, run.error, run.pruned = 0, None, False

    def write(self) -> None:
        """Write ``summary.json`` and ``summary.md``."""
        directory.write_json(self.folder / SUMMARY, summary(self))
        if self.search is not None:
            from ffcore.sweeps import search_report

            search_report.write_text(self)
            return
        parts = [f"# {self.recipe}: {len(self.runs)} runs", markdown_table(self.columns, rows(self))]
        if (self.folder / PICTURE).exists():  # drawn after the last run
            parts.append(f"![validation over each setting]({PICTURE})")
        parts += [*remarks(self), *([f"    {self.command}"] if self.command is not None else [])]
        directory.write_text(self.folder / "summary.md", "\n\n".join(parts) + "\n")


def summary(sweep: Sweep) -> dict[str, Any]:
    """Returns the content of ``summary.json``: errors in percent, accuracies as fractions, sample std."""
    if (search := sweep.search) is not None:
        return {
            "format": FORMAT,
            **_head(sweep),
            "search": search.model_dump(mode="json"),
            "members": [
                {**_member(sweep, run), "trial": run.trial, "pruned": run.pruned} for run in sweep.runs
            ],
        }
    best = best_points(sweep)
    return {
        "format": 1,
        **_head(sweep),
        "members": [_member(sweep, run) for run in sweep.runs],
        "groups": [
            {
                "point": list(point),
                "best_on_validation": point in best,
                "n": sum(sweep.results(run) is not None for run in runs),
                "test_error": _mean_std(_values(sweep, runs, "test_error")),
                "val_accuracy": _mean_std(_values(sweep, runs, "val_accuracy")),
                **(
                    {name: _mean_std(_values(sweep, runs, name)) for name in ("test", "val")}
                    if sweep.task is not None
                    else {}
                ),
            }
            for point, runs in sweep.points().items()
        ],
    }


def _head(sweep: Sweep) -> dict[str, Any]:
    return {"recipe": sweep.recipe, "command": sweep.command, "report": sweep.report, "jobs": sweep.jobs}


def _member(sweep: Sweep, run: SweepRun) -> dict[str, Any]:
    return {
        "folder": run.name,
        "point": list(run.point),
        "overrides": list(run.overrides),
        "seed": run.seed,
        "state": sweep.state(run),
        "exit_status": run.status,
        "error": run.error,
        **sweep.metrics(run),
    }


def best_points(sweep: Sweep) -> list[tuple[str, ...]]:
    """Returns the point of the grid with the best mean on validation data; test results are not used.

    Only points with the same data are compared: there is a best one for each value of ``data.kind``, say.
    A single point with results is not the best.
    """
    task = sweep.task
    name, sign = ("val_accuracy", 1) if task is None else ("val", -1 if task["lower"] else 1)
    means: dict[tuple[str, ...], dict[tuple[str, ...], float]] = {}
    for point, runs in sweep.points().items():
        if values := _values(sweep, runs, name):
            means.setdefault(comparing.setting(point), {})[point] = sign * statistics.fmean(values)
    return [max(of, key=lambda point: of[point]) for of in means.values() if len(of) > 1]


def rows(sweep: Sweep) -> list[list[str]]:
    """Returns the rows under `Sweep.columns`: runs in the order of the grid, and means over seeds."""
    if sweep.search is not None:
        from ffcore.sweeps import search_report

        return search_report.rows(sweep)
    made: list[list[str]] = []
    best, digits = best_points(sweep), sweep.digits
    for point, runs in sweep.points().items():
        mark = " (best val.)" if point in best else ""
        for run in runs:
            name = run.name if len(runs) > 1 else f"{run.name}{mark}"
            made.append([name, *_cells(sweep, run)])
        tests, vals = shown(sweep, runs)
        if len(runs) > 1 and tests:
            of = f"{' '.join(point)}: mean of {len(tests)}".removeprefix(": ")
            means = [plus_minus(values, digits) for values in (tests, vals)]
            made.append([f"{of}{mark}", *means, "", ""])
    return made


def remarks(sweep: Sweep) -> list[str]:
    """Returns lines on points that cannot be compared, on every run or trial that has failed, and on ±."""
    failed = [
        f"{run.name} failed with exit status {run.status}: {run.error}; its output is in {sweep.log_of(run)}"
        for run in sweep.runs
        if sweep.state(run) == "failed"
    ]
    found = sweep.search.found if sweep.search is not None else []
    failed += [
        f"trial-{trial.number:04d} failed: {trial.error}" for trial in found if trial.error is not None
    ]
    several = any("±" in cell for row in rows(sweep) for cell in row)
    return [*_data_differ(sweep), *failed, *([DEVIATION] if several else [])]


def _data_differ(sweep: Sweep) -> list[str]:
    if sweep.search is not None:
        paths = comparing.of_data(sweep.search.ranges)
        return [f"the trials cannot be compared: {comparing.why(paths)}"] if paths else []
    points = [dict(one.partition("=")[::2] for one in comparing.setting(run.point)) for run in sweep.runs]
    if not (paths := list(dict.fromkeys(path for point in points for path in point))):
        return []
    marked = (
        "(best val.) is among points with equal data" if best_points(sweep) else "no point is marked as best"
    )
    return [f"{marked}: {comparing.why(paths)}"]


def _values(sweep: Sweep, runs: Iterable[SweepRun], key: str) -> list[float]:
    values = (sweep.metrics(run).get(key) for run in runs)
    return [value for value in values if value is not None]


def _cells(sweep: Sweep, run: SweepRun) -> list[str]:
    if sweep.results(run) is None:
        return [sweep.state(run), *[NOTHING] * 3]
    metrics = sweep.metrics(run)
    cells = [plus_minus(values, sweep.digits) for values in shown(sweep, [run])]
    return [*cells, count(metrics["epochs"]), clock(metrics["wall_s"])]


def shown(sweep: Sweep, runs: Iterable[SweepRun]) -> tuple[list[float], list[float]]:
    """Returns test and validation values of finished runs: errors in percent, or the headline of a task."""
    runs = list(runs)
    if sweep.task is not None:
        return _values(sweep, runs, "test"), _values(sweep, runs, "val")
    accuracies = _values(sweep, runs, "val_accuracy")
    return _values(sweep, runs, "test_error"), [100 * (1 - accuracy) for accuracy in accuracies]


def _mean_std(values: Sequence[float]) -> dict[str, float | None]:
    mean = statistics.fmean(values) if values else None
    return {"mean": mean, "std": statistics.stdev(values) if len(values) > 1 else None}


def plus_minus(values: Sequence[float], digits: int = 2) -> str:
    """Formats the mean of values; of several with their standard deviation."""
    mean, std = _mean_std(values).values()
    if mean is None:
        return NOTHING
    return f"{mean:.{digits}f}" if std is None else f"{mean:.{digits}f} ± {std:.{digits}f}"
