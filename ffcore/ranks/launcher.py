"""How the processes of a run start on one machine, and how they end: all of them, whatever happens to one."""

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

_LOOK = 0.2  # seconds between two looks at the others
GRACE = 10.0  # seconds that a rank has to notice by itself that another one has ended


class Launcher(_SubprocessScriptLauncher):
    """Lightning's, which runs the same command once for each further device, with a watch of its own.

    Lightning's watch looks every five seconds, and then kills the main process without a word. Processes stay
    for all runs of a program.

    Attributes:
        before: environment variables that there were before it set its own.
        busy: whether a run is under way, so that the end of another process is the end of this one.
    """

    before: Collection[str] = ()
    busy = False
    started: ClassVar[Launcher | None] = None

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Start the others unless somebody has, then call ``function``."""
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
        """Which of the others has failed, in words; waits so many seconds for one to do so."""
        until = time.monotonic() + wait
        while True:
            for number, process in enumerate(self.procs, 1):
                if process.poll():
                    return f"rank {number} has ended {_how(process.returncode)}"
            if time.monotonic() >= until:
                return None
            time.sleep(0.05)

    def end(self, wait: float = 30.0) -> None:
        """Wait so long for the others to end, then end them."""
        until = time.monotonic() + wait
        for process in self.procs:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _watch(self) -> None:
        """End this process if another one has failed in a run and it does not notice."""
        noticed = None
        while Launcher.started is self:
            time.sleep(_LOOK)
            told = self.ended() if self.busy else None
            noticed = None if told is None else noticed or time.monotonic()
            if noticed is None or time.monotonic() - noticed < GRACE:
                continue
            print(f"error: {told}; the run cannot go on", file=sys.stderr, flush=True)
            for process in self.procs:
                process.kill()
            os._exit(1)  # it waits, perhaps outside Python, for somebody who will not come


def _how(code: int) -> str:
    return f"(signal {signal.Signals(-code).name})" if code < 0 else f"with exit code {code}"


def end_with_first_rank() -> None:
    """End this process when the one that has started it is gone, however that ended."""
    if not started_by_first():
        return

    def watch() -> None:
        while started_by_first():
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="ffcore-first-rank").start()
