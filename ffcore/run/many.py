"""Starts the runs of a sweep, one process each, and keeps the summary up to date."""

from __future__ import annotations

import math
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ffcore.files import CONFIG, remove_drafts
from ffcore.recipe.text import parse
from ffcore.report.text import duration, error, number
from ffcore.run import directory
from ffcore.run.grid import SweepRun
from ffcore.run.sweep import INTERRUPTED, Sweep


def launch(
    sweep: Sweep,
    program: Sequence[str],
    *,
    jobs: int = 1,
    max_time: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> int:
    """Start all runs that have no results yet, and keep the summary up to date.

    Ctrl-C is forwarded to the runs, which write a checkpoint and end; a second Ctrl-C ends them at once.

    Args:
        sweep: a sweep whose directory exists.
        program: the command that starts ffcore, without the subcommand.
        jobs: number of runs at the same time.
        max_time: seconds for the whole sweep; None for no limit.
        tell: called with one line when a run starts and when it ends.

    Returns:
        0: no run failed; some may be unfinished. 1: a run failed. 130: interrupted.

    Raises:
        UserError: another process writes to this sweep.
    """
    with directory.locked(sweep.folder), _signals() as pressed:
        for run in sweep.runs:
            if run.status == INTERRUPTED:  # of an earlier call: the run is unfinished again
                run.status = None
        sweep.refresh()
        _work(sweep, program, jobs, max_time, tell, pressed)
    if pressed:
        return INTERRUPTED
    return int(any(sweep.state(run) in ("failed", "interrupted") for run in sweep.runs))


def _work(
    sweep: Sweep,
    program: Sequence[str],
    jobs: int,
    max_time: float | None,
    tell: Callable[[str], None],
    pressed: Sequence[int],
) -> None:
    ends = math.inf if max_time is None else time.monotonic() + max_time
    waiting = [run for run in sweep.runs if sweep.results(run) is None]
    running: dict[int, tuple[SweepRun, subprocess.Popen[bytes], int]] = {}  # by slot, 0 … jobs − 1
    forwarded = 0
    try:
        while True:
            while waiting and len(running) < jobs and not pressed and (left := ends - time.monotonic()) > 0:
                run = waiting.pop(0)
                slot = next(slot for slot in range(jobs) if slot not in running)
                shares = _shares(slot, jobs, sweep.recipe_of(run))
                running[slot] = _start(sweep, run, program, shares, left)
                tell(f"{run.name}: started, {sweep.runs.index(run) + 1} of {len(sweep.runs)}")
            for number in range(forwarded, len(pressed)):
                for _, process, _ in running.values():
                    # the first Ctrl-C makes a run write its checkpoint, the second ends it without one
                    process.send_signal(signal.SIGINT if number < 2 else signal.SIGKILL)
                forwarded = number + 1
                if number == 0:
                    tell("interrupted: the runs write checkpoints; press Ctrl-C again to end them at once")
            for slot, (run, process, began) in list(running.items()):
                if process.poll() is not None:
                    del running[slot]
                    _end(sweep, run, process.returncode, began)
                    tell(f"{run.name}: {_outcome(sweep, run)}")
            if not running and (not waiting or pressed or time.monotonic() >= ends):
                return
            time.sleep(0.05)
    finally:  # also after an error no process may be left running
        for _, process, _ in running.values():
            process.send_signal(signal.SIGINT)
        for _, process, _ in running.values():
            process.wait()


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
    run.status = 128 - status if status < 0 else status  # killed by signal n: 128 + n, as in shells
    output = sweep.log_of(run).read_bytes()[began:].decode(errors="replace")
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no output"]
    if status == 0 and sweep.results(run) is None and not any(line.startswith("stopped") for line in lines):
        run.status = 1  # its process has ended before the run, as by os._exit
    if sweep.state(run) == "failed":
        last = ([line for line in lines if line.startswith("error")] or lines)[-1]
        run.error = f"killed by {signal.Signals(-status).name}" if status < 0 else last
    sweep.write()


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
