"""The folder of several runs, and its summary. Light: no torch."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffcore.errors import UserError
from ffcore.files import RESULTS, SUMMARY
from ffcore.report.text import NOTHING, clock, count, error, markdown_table
from ffcore.run import directory
from ffcore.run.grid import Member

COLUMNS = ("run", "test error %", "val. error %", "epochs", "time")
INTERRUPTED = 130
"""Exit status of a member that ended with a checkpoint."""
_KEPT = ("seed", "exit_status", "error")


@dataclass
class Sweep:
    """The folder of several runs. ``summary.json`` says who they are from before the first one starts.

    Beside it lies the whole recipe of each of them, so that the sweep goes on as it began, from any folder.

    Attributes:
        folder: where everything lies.
        recipe: the name or the path of what they all run.
        members: in the order of the grid, seeds running fastest.
        command: the command line that made the sweep.
        report: whether members make reports of their own.
    """

    folder: Path
    recipe: str
    members: list[Member]
    command: str | None = None
    report: bool = False

    @classmethod
    def read(cls, folder: Path) -> Sweep:
        """The sweep that a folder is.

        Raises:
            UserError: its ``summary.json`` is damaged.
        """
        try:
            said = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
            members = [
                Member(one["folder"], tuple(one["point"]), tuple(one["overrides"]), *map(one.get, _KEPT))
                for one in said["members"]
            ]
            return cls(folder, said["recipe"], members, said["command"], bool(said.get("report")))
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise UserError(f"{folder / SUMMARY}: not the summary of several runs: {problem!r}") from problem

    def begin(self) -> None:
        """Write what there is before the first one starts."""
        for member in self.members:
            assert member.recipe is not None, "they have been checked"
            directory.write_text(self.recipe_of(member), member.recipe)
        self.write()

    def results(self, member: Member) -> dict[str, Any] | None:
        """The content of a member's ``results.json``; None before it has one.

        Raises:
            UserError: it is damaged.
        """
        path = self.folder / member.name / RESULTS
        try:
            found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        except ValueError as problem:
            raise UserError(f"{path}: damaged: {problem}; without it the run goes on") from problem
        if found is not None and not isinstance(found, dict):
            raise UserError(f"{path}: damaged: no results of a run; without it the run goes on")
        return found

    def metrics(self, member: Member) -> dict[str, Any]:
        """What the summary says of a member's results; nothing but None before it has some."""
        results = self.results(member) or {}
        return {
            "test_error": (results.get("test") or {}).get("error"),
            "val_accuracy": (results.get("val") or {}).get("accuracy"),
            "epochs": results.get("epochs"),
            "wall_s": results.get("wall_s"),
        }

    def state(self, member: Member) -> str:
        """What has become of a member, in a word or two."""
        if member.status is None:
            return "unfinished" if (self.folder / member.name).exists() else "not started"
        if member.status == 0:
            return "stopped" if self.results(member) is None else "done"
        return "interrupted" if member.status == INTERRUPTED else "failed"

    def points(self) -> dict[tuple[str, ...], list[Member]]:
        """Members that differ in nothing but their seeds."""
        return {point: list(found) for point, found in itertools.groupby(self.members, lambda one: one.point)}

    def recipe_of(self, member: Member) -> Path:
        """The file with a member's whole recipe."""
        return self.folder / f"{member.name}.yaml"

    def log_of(self, member: Member) -> Path:
        """The file with what a member printed."""
        return self.folder / f"{member.name}.log"

    def refresh(self) -> None:
        """Mark the members that have results as done, however they were run, and write the summary.

        Raises:
            UserError: the results of a member are damaged.
        """
        for member in self.members:
            if self.results(member) is not None:
                member.status, member.error = 0, None
        self.write()

    def write(self) -> None:
        """Write ``summary.json`` and ``summary.md``."""
        directory.write_json(self.folder / SUMMARY, summary(self))
        parts = [f"# {self.recipe}: {len(self.members)} runs", markdown_table(COLUMNS, rows(self))]
        parts += [*remarks(self), *([f"    {self.command}"] if self.command is not None else [])]
        directory.write_text(self.folder / "summary.md", "\n\n".join(parts) + "\n")


def summary(sweep: Sweep) -> dict[str, Any]:
    """What ``summary.json`` says: errors in percent, accuracies as fractions, sample standard deviations."""
    best = best_point(sweep)
    return {
        "recipe": sweep.recipe,
        "command": sweep.command,
        "report": sweep.report,
        "members": [
            {
                "folder": member.name,
                "point": list(member.point),
                "overrides": list(member.overrides),
                "seed": member.seed,
                "state": sweep.state(member),
                "exit_status": member.status,
                "error": member.error,
                **sweep.metrics(member),
            }
            for member in sweep.members
        ],
        "groups": [
            {
                "point": list(point),
                "best_on_validation": point == best,
                "n": sum(sweep.results(member) is not None for member in members),
                "test_error": _spread(_values(sweep, members, "test_error")),
                "val_accuracy": _spread(_values(sweep, members, "val_accuracy")),
            }
            for point, members in sweep.points().items()
        ],
    }


def best_point(sweep: Sweep) -> tuple[str, ...] | None:
    """The point of the grid with the highest mean accuracy on validation data; the test split has no say."""
    means = {
        point: statistics.fmean(values)
        for point, members in sweep.points().items()
        if (values := _values(sweep, members, "val_accuracy"))
    }
    return max(means, key=lambda point: means[point]) if len(means) > 1 else None


def rows(sweep: Sweep) -> list[list[str]]:
    """The table of a sweep, for `COLUMNS`: members in the order of the grid, and the mean of their seeds."""
    made: list[list[str]] = []
    best = best_point(sweep)
    for point, members in sweep.points().items():
        mark = " (best val.)" if point == best else ""
        for member in members:
            name = member.name if len(members) > 1 else f"{member.name}{mark}"
            made.append([name, *_cells(sweep, member)])
        errors = _values(sweep, members, "test_error")
        if len(members) > 1 and errors:
            val = [100 * (1 - accuracy) for accuracy in _values(sweep, members, "val_accuracy")]
            of = f"{' '.join(point)}: mean of {len(errors)}".removeprefix(": ")
            made.append([f"{of}{mark}", _plus_minus(errors), _plus_minus(val), "", ""])
    return made


def remarks(sweep: Sweep) -> list[str]:
    """A line on every member that has failed."""
    return [
        f"{member.name} failed with exit status {member.status}: {member.error}; all it said is in "
        f"{sweep.log_of(member)}"
        for member in sweep.members
        if sweep.state(member) == "failed"
    ]


def _values(sweep: Sweep, members: Iterable[Member], key: str) -> list[float]:
    values = (sweep.metrics(member)[key] for member in members)
    return [value for value in values if value is not None]


def _cells(sweep: Sweep, member: Member) -> list[str]:
    if sweep.results(member) is None:
        return [sweep.state(member), *[NOTHING] * 3]
    found = sweep.metrics(member)
    errors = [_plus_minus(_values(sweep, [member], "test_error")), error(found["val_accuracy"])]
    return [*(cell.removesuffix(" %") for cell in errors), count(found["epochs"]), clock(found["wall_s"])]


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    mean = statistics.fmean(values) if values else None
    return {"mean": mean, "std": statistics.stdev(values) if len(values) > 1 else None}


def _plus_minus(values: Sequence[float]) -> str:
    mean, std = _spread(values).values()
    return NOTHING if mean is None else f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"
