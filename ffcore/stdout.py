"""Standard output: any encoding of the terminal, a closed pipe, a full disk.

The reader of a pipe may end before the command, as in ``ffcore ls | head -1``.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from typing import Any

NAME = "standard output"
"""The file name in an error of standard output; an error of another file has another name, or none."""


def prepare(*, own: bool) -> None:
    """Make standard output and error accept every character; one that their encoding lacks is escaped.

    Args:
        own: whether this process is the command, so that standard output can be replaced by one whose errors
            have a name.
    """
    if sys.stdout is None:  # closed by the shell: >&-
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)
    elif own and type(sys.stdout) is io.TextIOWrapper:
        old = sys.stdout
        raw = _Named(old.fileno(), "wb", closefd=False)
        sys.stdout = io.TextIOWrapper(
            raw if old.write_through else io.BufferedWriter(raw),
            old.encoding,
            line_buffering=old.line_buffering,
            write_through=old.write_through,
        )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def problem(error: BaseException) -> OSError | None:
    """Returns the error of standard output that another error comes from; None if it has another cause."""
    return next((one for one in _chain(error) if isinstance(one, OSError) and one.filename == NAME), None)


def flush() -> None:
    """Write what is in the buffer.

    Raises:
        OSError: standard output cannot be written.
    """
    if not sys.stdout.closed:
        sys.stdout.flush()


def discard() -> None:
    """Send the rest of standard output to nowhere: Python would fail again when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


class _Named(io.FileIO):
    """A file whose errors have a name."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = NAME
            raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and those that it was raised from or after."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
