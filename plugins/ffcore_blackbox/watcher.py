"""Runs a program, and kills it and its children when the calling process ends.

    python watcher.py FD PROGRAM [ARGS]…

FD is the reading end of a pipe. The calling process holds the other end, which closes when that process ends,
also after ``kill -9``. The program inherits standard input, output and error.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys


def main() -> int:
    """Run the program until it or the caller ends; kill its process group; return its exit code."""
    lifeline = int(sys.argv[1])
    program = subprocess.Popen(sys.argv[2:], start_new_session=True)  # noqa: S603 (the recipe chooses it)
    # Only the program uses these pipes: when it ends, the caller must see the end of its output.
    os.close(0)
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
