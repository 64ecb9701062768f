"""Starts the processes of a run on one machine, and ends all of them if one fails."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from typing import Any, ClassVar

from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from ffcore.ranks.where import PARENT, started_by_first

_POLL_S = 0.2  # seconds between two checks of the other processes
GRACE = 10.0  # seconds for a rank to raise its own error after another one has ended


class Launcher(_SubprocessScriptLauncher):
    """Lightning's launcher, which runs the same command once for each further device, with another monitor.

    Lightning's monitor checks every five seconds and kills the main process without a message. The processes
    are used for all runs of a program.

    Attributes:
        before: names of the environment variables before the launcher set its own.
        busy: whether a run is active: then the end of another process ends this one.
        failed: whether a run of this program has failed, and the processes that it had started were ended.
    """

    before: Collection[str] = ()
    busy = False
    started: ClassVar[Launcher | None] = None
    failed: ClassVar[bool] = False

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Start the other processes, unless torchrun or SLURM has, then call ``function``."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self.before = set(os.environ)
            os.environ[PARENT] = str(os.getpid())
            self._call_children_scripts()
            Launcher.started = self
            threading.Thread(target=self._watch, daemon=True, name="ffcore-ranks").start()
            atexit.register(self.end)
        return function(*args, **kwargs)

    def ended(self, wait: float = 0.0) -> str | None:
        """Returns a description of a failed process; None if none fails within ``wait`` seconds."""
        until = time.monotonic() + wait
        while True:
            for number, process in enumerate(self.procs, 1):
                if process.poll():  # an exit code other than 0 and None
                    return f"rank {number} has ended {_how(process.returncode)}"
            if time.monotonic() >= until:
                return None
            time.sleep(0.05)

    def end(self, wait: float = 30.0) -> None:
        """Wait ``wait`` seconds for the other processes to end, then kill them."""
        until = time.monotonic() + wait
        for process in self.procs:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _watch(self) -> None:
        """End this process if another one has failed during a run and this one hangs."""
        noticed = None
        while Launcher.started is self:
            time.sleep(_POLL_S)
            failure = self.ended() if self.busy else None
            noticed = None if failure is None else noticed or time.monotonic()
            if noticed is None or time.monotonic() - noticed < GRACE:
                continue
            print(f"error: {failure}; the run cannot continue", file=sys.stderr, flush=True)
            for process in self.procs:
                process.kill()
            # The main thread waits for the failed rank, perhaps in C++ code, which no exception can
            # interrupt.
            os._exit(1)


def _how(code: int) -> str:
    return f"(signal {signal.Signals(-code).name})" if code < 0 else f"with exit code {code}"


def end_with_first_rank() -> None:
    """End this process when the process that started it has ended, in any way."""
    if not started_by_first():
        return

    def watch() -> None:
        while started_by_first():  # an orphan gets another parent
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="ffcore-first-rank").start()
