"""`Swept`: a sweep that has run, which `ffcore.sweep` returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffcore.errors import UserError, expect
from ffcore.files import SUMMARY
from ffcore.recipe.text import parse_value
from ffcore.sweeps import comparing, create, launcher, search_report
from ffcore.sweeps.picture import draw
from ffcore.sweeps.sweep import INTERRUPTED, Sweep, best_points, remarks, rows
from ffcore.sweeps.wording import again, in_python

__all__ = ["Swept"]


@dataclass(frozen=True, repr=False)
class Swept:
    """The directory of a sweep: a grid, several seeds, or a search.

    >>> import ffcore
    >>> swept = ffcore.sweep("digits/ff", {"optimizer.lr": [1e-3, 3e-3]})  # doctest: +SKIP
    >>> swept.best  # doctest: +SKIP
    {'optimizer.lr': 0.003}

    Attributes:
        path: the directory, with ``summary.json``, ``summary.md``, and the run directories.
    """

    path: Path

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Swept:
        """Open the directory of a sweep.

        Raises:
            UserError: it is not the directory of a sweep.
        """
        expect("path", path, (str, os.PathLike), "the path of the directory of a sweep")
        folder = Path(path)
        if not (folder / SUMMARY).is_file():
            raise UserError(f"{str(folder)!r} is not the directory of a sweep: it has no {SUMMARY}")
        Sweep.read(folder)
        return cls(folder)

    @property
    def best(self) -> dict[str, Any] | None:
        """The point with the best mean on validation data, by path; None if points cannot be compared.

        Points of a grid with different data, as several values of ``data.kind``, cannot.

        Test results are not used. Of a search, the trials of all its workers are compared.
        """
        sweep = Sweep.read(self.path)
        if sweep.search is None:
            found = best_points(sweep)
            alike = len(set(map(comparing.setting, sweep.points()))) == 1
            point = found[0] if found and alike else ()
        else:
            best = sweep.search.best
            point = tuple(f"{path}={text}" for path, text in best.values.items()) if best is not None else ()
        pairs = (override.partition("=") for override in point)
        return {path: parse_value(text) for path, _, text in pairs} or None

    @property
    def runs(self) -> dict[str, Path]:
        """The directories of the finished runs in this directory, by name; `ffcore.load` reads each."""
        sweep = Sweep.read(self.path)
        return {run.name: sweep.folder / run.name for run in sweep.runs if sweep.state(run) == "done"}

    @property
    def states(self) -> dict[str, str]:
        """The state of each run: done, pruned, failed, interrupted, stopped, unfinished or not started."""
        sweep = Sweep.read(self.path)
        return {run.name: sweep.state(run) for run in sweep.runs}

    def resume(
        self,
        *,
        jobs: int | None = None,
        trials: int | None = None,
        storage: str | None = None,
        max_time: float | None = None,
        bar: bool = False,
    ) -> Swept:
        """Run what has no results yet; of a search, also the trials that are missing.

        Args:
            jobs: number of runs at the same time; None for that of the call before.
            trials: of a search, its new number of trials.
            storage: of a search, the URL of its storage, if that has moved or has a password.
            max_time: seconds for all runs together; None for no limit.
            bar: print a line when a run starts and when it ends, and where the summary is.

        Raises:
            ffcore.errors.UserError: an argument does not fit, or another process runs this sweep.
            KeyboardInterrupt: Ctrl-C was pressed; the runs have written checkpoints.
        """
        refuse_jobs(jobs, trials)
        with in_python():
            reopened = create.reopened(self.path, trials=trials, storage=storage)
            return launched(reopened, jobs, max_time, bar)

    def __repr__(self) -> str:
        sweep = Sweep.read(self.path)
        table = [list(sweep.columns), *rows(sweep)]
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = [
            "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in table
        ]
        extra = search_report.best_lines(sweep) if sweep.search is not None else []
        extra += remarks(sweep)
        return "\n".join([*(line.rstrip() for line in lines), *extra, f"directory {self.path}"])


def refuse_jobs(jobs: object, trials: object) -> None:
    """Raise if the number of jobs or trials is not a whole number, 1 or more.

    Raises:
        UserError: with the name and the value.
    """
    for name, value in (("jobs", jobs), ("trials", trials)):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name}: {value!r} should be a whole number, 1 or more")


def launched(sweep: Sweep, jobs: int | None, max_time: float | None, bar: bool) -> Swept:
    """Run a sweep from Python, and write its summary and picture.

    Raises:
        UserError: another process runs it.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    tell: Callable[[str], None] = print if bar else lambda line: None
    code = launcher.launch(sweep, launcher.program(), jobs=jobs, max_time=max_time, tell=tell)
    draw(sweep, tell)
    for line in [*remarks(sweep), f"summary   {sweep.folder / 'summary.md'}"]:
        tell(line)
    if code == INTERRUPTED:
        raise KeyboardInterrupt(f"the sweep is not finished; resume it with {again(sweep.folder)}")
    return Swept(sweep.folder)
