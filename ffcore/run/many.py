"""Several runs of one recipe, over seeds and a grid of values: a process each, and one summary."""

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
from ffcore.report.text import duration, error
from ffcore.run import directory
from ffcore.run.grid import Member
from ffcore.run.sweep import INTERRUPTED, Sweep


def launch(
    sweep: Sweep,
    program: Sequence[str],
    *,
    jobs: int = 1,
    max_time: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> int:
    """Run the members that have no results yet, and keep the summary up to date.

    Ctrl-C is passed on to the members, which end with a checkpoint; pressed again, it ends them at once.

    Args:
        sweep: whose folder is there.
        program: the words that start ffcore, up to the verb.
        jobs: members that run at the same time.
        max_time: seconds for all of them together; None for no limit.
        tell: is told, in one line, when a member starts and ends.

    Returns:
        0: no member failed; some may be unfinished. 1: one did. 130: interrupted.

    Raises:
        UserError: another process is at it.
    """
    with directory.locked(sweep.folder), _signals() as pressed:
        for member in sweep.members:
            if member.status == INTERRUPTED:
                member.status = None
        sweep.refresh()
        _work(sweep, program, jobs, max_time, tell, pressed)
    if pressed:
        return INTERRUPTED
    return int(any(sweep.state(member) in ("failed", "interrupted") for member in sweep.members))


def _work(
    sweep: Sweep,
    program: Sequence[str],
    jobs: int,
    max_time: float | None,
    tell: Callable[[str], None],
    pressed: Sequence[int],
) -> None:
    ends = math.inf if max_time is None else time.monotonic() + max_time
    waiting = [member for member in sweep.members if sweep.results(member) is None]
    running: dict[int, tuple[Member, subprocess.Popen[bytes], int]] = {}  # by slot, 0 … jobs − 1
    passed_on = 0
    try:
        while True:
            while waiting and len(running) < jobs and not pressed and (left := ends - time.monotonic()) > 0:
                member = waiting.pop(0)
                slot = min(set(range(jobs)) - running.keys())
                shares = _shares(slot, jobs, sweep.recipe_of(member))
                running[slot] = _start(sweep, member, program, shares, left)
                tell(f"{member.name}: started, {sweep.members.index(member) + 1} of {len(sweep.members)}")
            for number in range(passed_on, len(pressed)):
                for _, process, _ in running.values():
                    process.send_signal(signal.SIGINT if number < 2 else signal.SIGKILL)
                passed_on = number + 1
                if number == 0:
                    tell("interrupted: members write their checkpoints; press again to end them at once")
            for slot, (member, process, began) in list(running.items()):
                if process.poll() is not None:
                    del running[slot]
                    _end(sweep, member, process.returncode, began)
                    tell(f"{member.name}: {_outcome(sweep, member)}")
            if not running and (not waiting or pressed or time.monotonic() >= ends):
                return
            time.sleep(0.05)
    finally:  # nobody is left behind, whatever went wrong here
        for _, process, _ in running.values():
            process.send_signal(signal.SIGINT)
        for _, process, _ in running.values():
            process.wait()


def _start(
    sweep: Sweep, member: Member, program: Sequence[str], shares: Mapping[str, str], left: float
) -> tuple[Member, subprocess.Popen[bytes], int]:
    """Start a member, or go on with it; what it says is added to its log, from the place that is returned."""
    member.status = member.error = None
    folder = sweep.folder / member.name
    if (folder / CONFIG).is_file():
        words = ["run", "--resume", str(folder)]
    else:
        remove_drafts(folder)  # a draft of what is not there yet
        words = ["run", str(sweep.recipe_of(member)), "--run-dir", str(folder)]
    words.append("--report" if sweep.report else "--no-report")
    if left < math.inf:
        words += ["--max-time", f"{math.ceil(left)}s"]
    with sweep.log_of(member).open("ab") as log:
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


def _end(sweep: Sweep, member: Member, status: int, began: int) -> None:
    member.status = 128 - status if status < 0 else status  # killed by a signal: as shells count
    if sweep.state(member) == "failed":
        said = sweep.log_of(member).read_bytes()[began:].decode(errors="replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
        last = ([line for line in lines if line.startswith("error")] or lines)[-1]
        member.error = f"killed by {signal.Signals(-status).name}" if status < 0 else last
    sweep.write()


def _outcome(sweep: Sweep, member: Member) -> str:
    state, found = sweep.state(member), sweep.metrics(member)
    if state == "done":
        return f"done in {duration(found['wall_s'])}, validation error {error(found['val_accuracy'])}"
    return f"failed: {member.error}" if state == "failed" else state


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
