"""Several runs of one recipe, over seeds and a grid of values: a process each, and one summary."""

from __future__ import annotations

import itertools
import json
import math
import os
import shlex
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ffcore.errors import UserError
from ffcore.files import CONFIG, RESULTS, sweep
from ffcore.recipe.text import parse
from ffcore.report.text import NOTHING, clock, count, duration, error, markdown_table
from ffcore.run import directory
from ffcore.run.grid import Member

SUMMARY = "summary.json"
COLUMNS = ("run", "test error %", "val. error %", "epochs", "time")
_KEPT = ("seed", "exit_status", "error")
_INTERRUPTED = 130


@dataclass
class Group:
    """The folder of several runs. ``summary.json`` says who they are from before the first one starts.

    Beside it lies the whole recipe of each of them, so that the group goes on as it began, from any folder.

    Attributes:
        folder: where everything lies.
        recipe: the name or the path of what they all run.
        members: in the order of the grid, seeds running fastest.
        command: the command line that made the group.
    """

    folder: Path
    recipe: str
    members: list[Member]
    command: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Group:
        """The group that a folder is.

        Raises:
            UserError: its ``summary.json`` is damaged.
        """
        try:
            said = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
            members = [
                Member(one["folder"], tuple(one["point"]), tuple(one["overrides"]), *map(one.get, _KEPT))
                for one in said["members"]
            ]
            return cls(folder, said["recipe"], members, said["command"])
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise UserError(f"{folder / SUMMARY}: not the summary of several runs: {problem!r}") from problem

    def begin(self) -> None:
        """Write what there is before the first one starts."""
        for member in self.members:
            assert member.recipe is not None, "they have been checked"
            directory.write_text(_recipe(self, member), member.recipe)
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

    def figures(self, member: Member) -> dict[str, Any]:
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
        return "interrupted" if member.status == _INTERRUPTED else "failed"

    def points(self) -> dict[tuple[str, ...], list[Member]]:
        """Members that differ in nothing but their seeds."""
        return {point: list(found) for point, found in itertools.groupby(self.members, lambda one: one.point)}

    def write(self) -> None:
        """Write ``summary.json`` and ``summary.md``."""
        directory.write_json(self.folder / SUMMARY, summary(self))
        parts = [f"# {self.recipe}: {len(self.members)} runs", markdown_table(COLUMNS, rows(self))]
        parts += [*remarks(self), *([f"    {self.command}"] if self.command is not None else [])]
        directory.write_text(self.folder / "summary.md", "\n\n".join(parts) + "\n")


def launch(
    group: Group,
    program: Sequence[str],
    *,
    jobs: int = 1,
    max_time: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> int:
    """Run the members that have no results yet, and keep the summary up to date.

    Ctrl-C is passed on to the members, which end with a checkpoint; pressed again, it ends them at once.

    Args:
        group: whose folder is there.
        program: the words that start ffcore, up to the verb.
        jobs: members that run at the same time.
        max_time: seconds for all of them together; None for no limit.
        tell: is told, in one line, when a member starts and ends.

    Returns:
        0: no member failed; some may be unfinished. 1: one did. 130: interrupted.

    Raises:
        UserError: another process is at it.
    """
    with directory.locked(group.folder), _signals() as pressed:
        for member in group.members:
            if group.results(member) is not None:
                member.status, member.error = 0, None
            elif member.status == _INTERRUPTED:
                member.status = None
        group.write()
        _work(group, program, jobs, max_time, tell, pressed)
    if pressed:
        return _INTERRUPTED
    return int(any(group.state(member) in ("failed", "interrupted") for member in group.members))


def summary(group: Group) -> dict[str, Any]:
    """What ``summary.json`` says: errors in percent, accuracies as fractions, sample standard deviations."""
    best = best_point(group)
    return {
        "recipe": group.recipe,
        "command": group.command,
        "members": [
            {
                "folder": member.name,
                "point": list(member.point),
                "overrides": list(member.overrides),
                "seed": member.seed,
                "state": group.state(member),
                "exit_status": member.status,
                "error": member.error,
                **group.figures(member),
            }
            for member in group.members
        ],
        "groups": [
            {
                "point": list(point),
                "best_on_validation": point == best,
                "n": sum(group.results(member) is not None for member in members),
                "test_error": _spread(_values(group, members, "test_error")),
                "val_accuracy": _spread(_values(group, members, "val_accuracy")),
            }
            for point, members in group.points().items()
        ],
    }


def best_point(group: Group) -> tuple[str, ...] | None:
    """The point of the grid with the highest mean accuracy on validation data; the test split has no say."""
    means = {
        point: statistics.fmean(values)
        for point, members in group.points().items()
        if (values := _values(group, members, "val_accuracy"))
    }
    return max(means, key=lambda point: means[point]) if len(means) > 1 else None


def rows(group: Group) -> list[list[str]]:
    """The table of a group, for `COLUMNS`: members in the order of the grid, and the mean of their seeds."""
    made: list[list[str]] = []
    best = best_point(group)
    for point, members in group.points().items():
        mark = " (best val.)" if point == best else ""
        for member in members:
            name = member.name if len(members) > 1 else f"{member.name}{mark}"
            made.append([name, *_cells(group, member)])
        errors = _values(group, members, "test_error")
        if len(members) > 1 and errors:
            val = [100 * (1 - accuracy) for accuracy in _values(group, members, "val_accuracy")]
            of = f"{' '.join(point)}: mean of {len(errors)}".removeprefix(": ")
            made.append([f"{of}{mark}", _plus_minus(errors), _plus_minus(val), "", ""])
    return made


def remarks(group: Group) -> list[str]:
    """A line on every member that has failed."""
    return [
        f"{member.name} failed with exit status {member.status}: {member.error}; all it said is in "
        f"{group.folder / _log(member)}"
        for member in group.members
        if group.state(member) == "failed"
    ]


def _work(
    group: Group,
    program: Sequence[str],
    jobs: int,
    max_time: float | None,
    tell: Callable[[str], None],
    pressed: Sequence[int],
) -> None:
    ends = math.inf if max_time is None else time.monotonic() + max_time
    waiting = [member for member in group.members if group.results(member) is None]
    running: dict[int, tuple[Member, subprocess.Popen[bytes], int]] = {}  # by slot, 0 … jobs − 1
    passed_on = 0
    try:
        while True:
            while waiting and len(running) < jobs and not pressed and (left := ends - time.monotonic()) > 0:
                member = waiting.pop(0)
                slot = min(set(range(jobs)) - running.keys())
                shares = _shares(slot, jobs, _recipe(group, member))
                running[slot] = _start(group, member, program, shares, left)
                tell(f"{member.name}: started, {group.members.index(member) + 1} of {len(group.members)}")
            for number in range(passed_on, len(pressed)):
                for _, process, _ in running.values():
                    process.send_signal(signal.SIGINT if number < 2 else signal.SIGKILL)
                passed_on = number + 1
                if number == 0:
                    tell("interrupted: members write their checkpoints; press again to end them at once")
            for slot, (member, process, began) in list(running.items()):
                if process.poll() is not None:
                    del running[slot]
                    _end(group, member, process.returncode, began)
                    tell(f"{member.name}: {_outcome(group, member)}")
            if not running and (not waiting or pressed or time.monotonic() >= ends):
                return
            time.sleep(0.05)
    finally:  # nobody is left behind, whatever went wrong here
        for _, process, _ in running.values():
            process.send_signal(signal.SIGINT)
        for _, process, _ in running.values():
            process.wait()


def _start(
    group: Group, member: Member, program: Sequence[str], shares: Mapping[str, str], left: float
) -> tuple[Member, subprocess.Popen[bytes], int]:
    """Start a member, or go on with it; what it says is added to its log, from the place that is returned."""
    member.status = member.error = None
    folder = group.folder / member.name
    if (folder / CONFIG).is_file():
        words = ["run", "--resume", str(folder)]
    else:
        sweep(folder)  # a draft of what is not there yet
        words = ["run", str(_recipe(group, member)), "--run-dir", str(folder)]
    if left < math.inf:
        words += ["--max-time", f"{math.ceil(left)}s"]
    with (group.folder / _log(member)).open("ab") as log:
        log.write(f"$ {shlex.join([*program, *words])}\n".encode())
        log.flush()
        process = subprocess.Popen(  # noqa: S603 (our own program)
            [*program, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **shares},
            process_group=0,  # Ctrl-C reaches it through us alone: twice would end it without a checkpoint
        )
        return member, process, log.tell()


def _shares(slot: int, jobs: int, recipe: Path) -> dict[str, str]:
    """Environment of one of several members at a time: cores and a GPU that the others do not take too."""
    if jobs == 1:
        return {}
    shares = {}
    if "OMP_NUM_THREADS" not in os.environ:
        shares["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    gpus = _gpus()
    if len(gpus) > 1:
        whole = parse(recipe.read_text(encoding="utf-8"), recipe.name).data
        if whole["trainer"]["devices"] == 1:
            shares["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return shares


def _gpus() -> list[str]:
    """Those that this process may use, as ``CUDA_VISIBLE_DEVICES`` calls them."""
    if (listed := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return listed.split(",")
    from torch.cuda import device_count

    return [str(number) for number in range(device_count())]


def _end(group: Group, member: Member, status: int, began: int) -> None:
    member.status = 128 - status if status < 0 else status  # killed by a signal: as shells count
    if group.state(member) == "failed":
        said = (group.folder / _log(member)).read_bytes()[began:].decode(errors="replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
        last = ([line for line in lines if line.startswith("error")] or lines)[-1]
        member.error = f"killed by {signal.Signals(-status).name}" if status < 0 else last
    group.write()


def _outcome(group: Group, member: Member) -> str:
    state, found = group.state(member), group.figures(member)
    if state == "done":
        return f"done in {duration(found['wall_s'])}, validation error {error(found['val_accuracy'])}"
    return f"failed: {member.error}" if state == "failed" else state


def _values(group: Group, members: Iterable[Member], key: str) -> list[float]:
    values = (group.figures(member)[key] for member in members)
    return [value for value in values if value is not None]


def _cells(group: Group, member: Member) -> list[str]:
    if group.results(member) is None:
        return [group.state(member), *[NOTHING] * 3]
    found = group.figures(member)
    errors = [_plus_minus(_values(group, [member], "test_error")), error(found["val_accuracy"])]
    return [*(cell.removesuffix(" %") for cell in errors), count(found["epochs"]), clock(found["wall_s"])]


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    mean = statistics.fmean(values) if values else None
    return {"mean": mean, "std": statistics.stdev(values) if len(values) > 1 else None}


def _plus_minus(values: Sequence[float]) -> str:
    mean, std = _spread(values).values()
    return NOTHING if mean is None else f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def _recipe(group: Group, member: Member) -> Path:
    return group.folder / f"{member.name}.yaml"


def _log(member: Member) -> str:
    return f"{member.name}.log"


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that ask for an end, as they come in, in place of what they would do."""
    pressed: list[int] = []

    def press(number: int, frame: FrameType | None) -> None:
        pressed.append(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            ignored = signal.getsignal(one) is signal.SIG_IGN
            # a function in place of SIG_IGN, which members would inherit: they are to hear us still
            before[one] = signal.signal(one, (lambda *_: None) if ignored else press)
    try:
        yield pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
