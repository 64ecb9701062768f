"""The runs of a search: asks its study for the next trial, and tells it what came out."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ffcore.errors import RunError, UserError, one_line
from ffcore.files import METRICS
from ffcore.recipe.text import parse
from ffcore.report.text import plural
from ffcore.run import directory
from ffcore.sweeps.grid import SweepRun
from ffcore.sweeps.search import Trial, short
from ffcore.sweeps.study import Study
from ffcore.sweeps.sweep import RECIPE, Sweep, shown
from ffcore.sweeps.wording import again

_FULL_S = 2.0
"""Seconds after which a study that had all its trials is asked again: one may have been given up."""


class Asked:
    """The source of the runs of a search.

    With several seeds and pruning, the run of the first seed decides: the others start when it is done.

    Args:
        sweep: a search; trials that have begun and are not told yet come first.
        tell: called with one line for the user.

    Raises:
        UserError: the storage cannot be opened, or its study is that of another search.
    """

    def __init__(self, sweep: Sweep, tell: Callable[[str], None]) -> None:
        assert sweep.search is not None
        self._sweep, self._search, self._say = sweep, sweep.search, tell
        for run in sweep.runs:
            if self._open(run):
                _refuse_running(sweep.folder / run.name)
        begun = bool(sweep.runs) or bool(self._search.found)
        self._study = Study(self._search, sweep.recipe, sweep.folder, begun=begun)
        self._waiting: list[SweepRun] = []
        self._full_until = -math.inf
        self._seen: dict[str, tuple[int, int]] = {}
        with self._hinted():
            self._study.drop_unknown(list(sweep.trials))
            self._refresh()
            told = {trial.number for trial in self._search.found if trial.state != "running"}
            for number, runs in sweep.trials.items():
                if number not in told:
                    self._waiting += [run for run in runs if self._open(run)]
                    self._settle(number)
        if others := sum(trial.worker is not None for trial in self._search.found):
            tell(f"study {self._search.study}: {plural(others, 'trial')} of other workers")

    def take(self) -> SweepRun | None:
        """Returns the next run: of a trial that has begun, or of a new one."""
        for run in self._waiting:
            first = self._sweep.trials[run.trial or 0][0]
            if not self._search.prune or run is first or self._sweep.state(first) == "done":
                self._waiting.remove(run)
                return run
        with self._hinted():
            while time.monotonic() >= self._full_until:
                if (asked := self._study.ask()) is None:
                    self._full_until = time.monotonic() + _FULL_S
                elif (begun := self._begun(*asked)) is not None:
                    return begun
        return None

    def watch(self, running: Sequence[SweepRun]) -> list[SweepRun]:
        """Report new validations, and return the runs that are pruned."""
        stopped = []
        with self._hinted():
            self._study.alive(list({run.trial or 0 for run in [*running, *self._waiting]}))
            for run in running:
                if run is not self._sweep.trials[run.trial or 0][0] or run.pruned:
                    continue
                values = self._news(run)
                worse = bool(values) and self._study.report(run.trial or 0, values)
                if worse and self._search.prune and max(values) < self._epochs(run):
                    run.pruned = True
                    stopped.append(run)
        return stopped

    def ended(self, run: SweepRun) -> None:
        """Tell the study, if the run was the last of its trial."""
        number = run.trial or 0
        if self._sweep.results(run) is not None:  # Ctrl-C came when it had ended
            run.status, run.error = 0, None
        if self._sweep.state(run) in ("pruned", "failed"):
            for other in [one for one in self._waiting if one.trial == number]:
                self._waiting.remove(other)
                other.pruned = run.pruned
        with self._hinted():
            if run is self._sweep.trials[number][0] and (values := self._news(run)):
                self._study.report(number, values)  # what came after the last look, for the median of others
            self._settle(number)
            self._refresh()

    def label(self, run: SweepRun) -> str:
        """Returns which trial it is, with its values."""
        values = ", ".join(short(one) for one in run.point)
        return f"{(run.trial or 0) + 1} of {self._search.trials}: {values}"

    def close(self) -> None:
        """Compute the importance of the parameters, and write the summary."""
        with self._hinted():
            self._refresh()
            self._search.importance = self._study.importance()
        self._sweep.write()

    def _begun(self, number: int, values: dict[str, str]) -> SweepRun | None:
        """Returns the first run of a new trial; None if its values do not fit the recipe."""
        try:
            runs = self._search.runs(number, values, self._sweep.folder / RECIPE)
        except UserError as error:
            self._study.tell(number, "failed", error=one_line(error))
            self._refresh()
            self._say(f"trial-{number:04d}: failed: {one_line(error)}")
            return None
        self._sweep.runs += runs
        self._sweep.add(runs)
        self._waiting += runs[1:]
        return runs[0]

    def _open(self, run: SweepRun) -> bool:
        return not run.pruned and self._sweep.results(run) is None and self._sweep.state(run) != "failed"

    def _settle(self, number: int) -> None:
        """Tell the study the outcome of a trial, if all its runs have ended."""
        runs = self._sweep.trials[number]
        states = {self._sweep.state(run) for run in runs}
        if states <= {"done"}:
            values = shown(self._sweep, runs)[1]
            value = sum(values) / len(values) if len(values) == len(runs) else math.nan
            if math.isfinite(value):
                self._study.tell(number, "done", value)
            else:
                self._study.tell(number, "failed", error="its validation has no value")
        elif states <= {"done", "pruned"}:
            self._study.tell(number, "pruned")
        elif "failed" in states and states <= {"done", "pruned", "failed", "not started"}:
            self._study.tell(number, "failed")

    def _refresh(self) -> None:
        own = self._sweep.trials
        found = {trial.number: trial for trial in self._study.trials()}
        self._search.found = [
            Trial(**{**trial.model_dump(), "worker": None}) if number in own else trial
            for number, trial in sorted(found.items())
        ]

    def _news(self, run: SweepRun) -> dict[int, float]:
        """Returns the validation values of a run by epoch; nothing if there is no new one."""
        path = self._sweep.folder / run.name / METRICS
        if not path.exists():
            return {}
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size)
        if self._seen.get(run.name) == version:
            return {}
        self._seen[run.name] = version
        headline = self._search.headline
        values = {}
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if text := row.get(f"val_{headline or 'accuracy'}"):
                    value = float(text) if headline else 100 * (1 - float(text))
                    if math.isfinite(value):
                        values[int(row["epoch"])] = value
        return values

    def _epochs(self, run: SweepRun) -> int:
        """Returns the last epoch of a run, after which nothing is saved by pruning it."""
        recipe = self._sweep.recipe_of(run)
        epochs = parse(recipe.read_text(encoding="utf-8"), recipe.name).data["trainer"]["max_epochs"]
        return int(epochs)

    @contextmanager
    def _hinted(self) -> Iterator[None]:
        """Add the command that resumes the search to the message of a storage that has failed."""
        try:
            yield
        except RunError as error:
            raise RunError(f"{error}; when it is back, resume with {again(self._sweep.folder)}") from error


def _refuse_running(folder: Path) -> None:
    """Raise if a process still runs here: a sweep that is killed leaves its runs behind.

    Raises:
        UserError: a process does.
    """
    if not folder.is_dir():
        return
    try:
        with directory.locked(folder):
            return
    except UserError as error:
        raise UserError(
            f"{error}, which a killed sweep has started: wait for its end, then resume"
        ) from error
