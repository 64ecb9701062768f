"""Starts the runs of a sweep, one process each, and keeps the summary up to date."""

from __future__ import annotations

import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from ffcore.files import CONFIG, remove_drafts
from ffcore.plugin import manager
from ffcore.recipe.text import parse
from ffcore.report.text import duration, error, number
from ffcore.run import directory
from ffcore.sweeps.grid import SweepRun
from ffcore.sweeps.sweep import INTERRUPTED, Sweep


def program(started: Sequence[str] | None = None) -> list[str]:
    """Returns the command that starts ffcore in another process, with the plugins in use.

    Args:
        started: the command that started this process; None if that was not ffcore.
    """
    # as this process was started: with `-m`, Python would add the working directory to its path
    own = [sys.executable, *([] if {"", os.getcwd()} & {*sys.path} else ["-P"]), "-m", "ffcore"]
    return [*(started or own), *manager.options()]


def launch(
    sweep: Sweep,
    program: Sequence[str],
    *,
    jobs: int | None = None,
    max_time: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> int:
    """Start all runs that have no results yet, and keep the summary up to date.

    Ctrl-C is forwarded to the runs, which write a checkpoint and end; a second Ctrl-C ends them at once.

    Args:
        sweep: a sweep whose directory exists; a grid, or a search, whose runs are chosen one by one.
        program: the command that starts ffcore, without the subcommand.
        jobs: number of runs at the same time; None for that of the call before, at first one.
        max_time: seconds for the whole sweep; None for no limit.
        tell: called with one line when a run starts and when it ends.

    Returns:
        0: no run failed; some may be unfinished. 1: a run failed; of a search: no trial is done.
        130: interrupted.

    Raises:
        UserError: another process writes to this sweep, its directory is read-only, or the storage of a
            search cannot be opened; nothing has been written.
        RunError: the storage of a search has failed.
    """
    with directory.locked(sweep.folder), _signals() as pressed:
        for run in sweep.runs:
            if run.status == INTERRUPTED:  # of an earlier call: the run is unfinished again
                run.status = None
        directory.refuse_read_only(sweep.folder)
        sweep.jobs = jobs or sweep.jobs
        sweep.mark()
        source = _source(sweep, tell)
        sweep.write()  # not before: a storage that cannot be opened changes nothing
        ends = math.inf if max_time is None else time.monotonic() + max_time
        _Work(sweep, source, program, sweep.jobs, tell).until_done(ends, pressed)
        source.close()
    if pressed:
        return INTERRUPTED
    if sweep.search is not None:
        return int(not any(trial.state == "done" for trial in sweep.search.found))
    return int(any(sweep.state(run) in ("failed", "interrupted") for run in sweep.runs))


class Source(Protocol):
    """Where the next runs come from: the list of a grid, or the study of a search."""

    def take(self) -> SweepRun | None:
        """Returns the next run to start; None if there is none now."""

    def watch(self, running: Sequence[SweepRun]) -> list[SweepRun]:
        """Look at the runs while they run; returns those to stop for good."""

    def ended(self, run: SweepRun) -> None:
        """A run has ended, and has its state."""

    def label(self, run: SweepRun) -> str:
        """Returns which run it is, for the line when it starts."""

    def close(self) -> None:
        """No run is running any more."""


class Listed:
    """The runs of a grid, in their order.

    Args:
        sweep: the grid; runs with results are left out.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._runs = sweep.runs
        self._waiting = [run for run in sweep.runs if sweep.results(run) is None]

    def take(self) -> SweepRun | None:
        """Returns the next run."""
        return self._waiting.pop(0) if self._waiting else None

    def watch(self, running: Sequence[SweepRun]) -> list[SweepRun]:
        """Every run of a grid runs to its end."""
        return []

    def ended(self, run: SweepRun) -> None:
        """The list does not depend on results."""

    def label(self, run: SweepRun) -> str:
        """Returns its index, from 1."""
        return f"{self._runs.index(run) + 1} of {len(self._runs)}"

    def close(self) -> None:
        """There is nothing to close."""


def _source(sweep: Sweep, tell: Callable[[str], None]) -> Source:
    if sweep.search is None:
        return Listed(sweep)
    from ffcore.sweeps.trials import Asked  # imports Optuna

    return Asked(sweep, tell)


@dataclass
class _Work:
    """The processes of a sweep, by slot, 0 … jobs − 1."""

    sweep: Sweep
    source: Source
    program: Sequence[str]
    jobs: int
    tell: Callable[[str], None]
    running: dict[int, tuple[SweepRun, subprocess.Popen[bytes], int]] = field(default_factory=dict)
    forwarded: int = 0

    def until_done(self, ends: float, pressed: Sequence[int]) -> None:
        """Start runs until the source has no more, the time is over, or Ctrl-C is pressed."""
        try:
            while True:
                if not pressed:
                    self._fill(ends)
                self._forward(pressed)
                if not self._collect() and not self.running:
                    return  # nothing was started, and no end of a run can bring something new
                for run in self.source.watch([run for run, _, _ in self.running.values()]):
                    self._signal(signal.SIGINT, run)  # it writes a checkpoint
                time.sleep(0.05)
        finally:  # also after an error no process may be left running
            self._signal(signal.SIGINT)
            for _, process, _ in self.running.values():
                process.wait()

    def _fill(self, ends: float) -> None:
        while len(self.running) < self.jobs and (left := ends - time.monotonic()) > 0:
            if (run := self.source.take()) is None:
                return
            slot = next(slot for slot in range(self.jobs) if slot not in self.running)
            shares = _shares(slot, self.jobs, self.sweep.recipe_of(run))
            self.running[slot] = _start(self.sweep, run, self.program, shares, left)
            self.tell(f"{run.name}: started, {self.source.label(run)}")

    def _forward(self, pressed: Sequence[int]) -> None:
        for presses in range(self.forwarded, len(pressed)):
            # the first Ctrl-C makes a run write its checkpoint, the second ends it without one
            self._signal(signal.SIGINT if presses < 2 else signal.SIGKILL)
            self.forwarded = presses + 1
            if presses == 0:
                self.tell("interrupted: the runs write checkpoints; press Ctrl-C again to end them at once")

    def _collect(self) -> bool:
        """Note the runs that have ended; returns whether there was one."""
        ended = [slot for slot, (_, process, _) in self.running.items() if process.poll() is not None]
        for slot in ended:
            run, process, began = self.running.pop(slot)
            _end(self.sweep, run, process.returncode, began)
            if self.forwarded > 2 and self.sweep.search is not None and process.returncode == -signal.SIGKILL:
                run.status, run.error = INTERRUPTED, None  # by the third Ctrl-C: the trial has not failed
            try:
                self.source.ended(run)
            finally:
                self.sweep.write()
            self.tell(f"{run.name}: {_outcome(self.sweep, run)}")
        return bool(ended)

    def _signal(self, number: int, only: SweepRun | None = None) -> None:
        for run, process, _ in self.running.values():
            if only is None or run is only:
                process.send_signal(number)


def _start(
    sweep: Sweep, run: SweepRun, program: Sequence[str], shares: Mapping[str, str], left: float
) -> tuple[SweepRun, subprocess.Popen[bytes], int]:
    """Start or resume a run. Its output is appended to its log, from the returned position."""
    run.status = run.error = None
    folder = sweep.folder / run.name
    if (folder / CONFIG).is_file():
        words = ["run", "--resume", str(folder)]
    else:
        remove_drafts(folder)  # incomplete files of a process that was killed before it wrote the recipe
        words = ["run", str(sweep.recipe_of(run)), "--run-dir", str(folder)]
    words.append("--report" if sweep.report else "--no-report")
    if left < math.inf:
        words += ["--max-time", f"{math.ceil(left)}s"]
    with sweep.log_of(run).open("ab") as log:
        log.write(f"$ {shlex.join([*program, *words])}\n".encode())
        log.flush()
        process = subprocess.Popen(  # noqa: S603 (our own program)
            [*program, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **shares},
            process_group=0,  # not in our group: Ctrl-C would reach it twice, and end it at once
        )
        return run, process, log.tell()


def _shares(slot: int, jobs: int, recipe: Path) -> dict[str, str]:
    """Returns environment variables that give a run its share of the cores and GPUs."""
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
    """Returns the GPUs that this process may use, by their names in ``CUDA_VISIBLE_DEVICES``."""
    if (listed := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return listed.split(",")
    from torch.cuda import device_count

    return [str(number) for number in range(device_count())]


def _end(sweep: Sweep, run: SweepRun, status: int, began: int) -> None:
    run.pruned = run.pruned and sweep.results(run) is None  # it may have ended by itself
    run.status = 128 - status if status < 0 else status  # killed by signal n: 128 + n, as in shells
    output = sweep.log_of(run).read_bytes()[began:].decode(errors="replace")
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no output"]
    if status == 0 and sweep.results(run) is None and not any(line.startswith("stopped") for line in lines):
        run.status = 1  # its process has ended before the run, as by os._exit
    if sweep.state(run) == "failed":
        last = ([line for line in lines if line.startswith("error")] or lines)[-1]
        run.error = f"killed by {signal.Signals(-status).name}" if status < 0 else last


def _outcome(sweep: Sweep, run: SweepRun) -> str:
    state, metrics = sweep.state(run), sweep.metrics(run)
    if state == "done":
        value = number(metrics["val"]) if "val" in metrics else error(metrics["val_accuracy"])
        what = "error" if sweep.task is None else sweep.task["headline"]
        return f"done in {duration(metrics['wall_s'])}, validation {what} {value}"
    return f"failed: {run.error}" if state == "failed" else state


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGINT, SIGTERM and SIGHUP in a list instead of ending this process."""
    pressed: list[int] = []

    def press(number: int, frame: FrameType | None) -> None:
        pressed.append(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            ignored = signal.getsignal(one) is signal.SIG_IGN
            # A process inherits SIG_IGN, and would then ignore the signals that we forward: use a function.
            before[one] = signal.signal(one, (lambda *_: None) if ignored else press)
    try:
        yield pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
