"""Runs a program and kills it, and all that it has started, when whoever asked for it is gone.

    python watcher.py FD PROGRAM [ARGS]…

FD is the reading end of a pipe whose other end the asking process holds: it closes however that process ends,
``kill -9`` included. The program inherits standard input, output and error.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys


def main() -> int:
    """Run, wait for either end, clean up; the program's exit code."""
    lifeline = int(sys.argv[1])
    program = subprocess.Popen(sys.argv[2:], start_new_session=True)  # noqa: S603 (the recipe says what runs)
    os.close(0)  # only the program reads the batches, and its end is the end of its output
    os.close(1)
    try:
        while program.poll() is None:
            if select.select([lifeline], [], [], 0.02)[0]:
                break
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, signal.SIGKILL)
    code = program.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
