"""`os._exit` in code of others would end the process at once, with results or without."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ffcore.blame import of_author


@contextmanager
def reported() -> Iterator[None]:
    """Within it, a call of `os._exit` by foreign code prints its place, and never exits with code 0."""
    real, owner = os._exit, os.getpid()

    def leave(status: int) -> None:
        caller = sys._getframe(1)
        # a child process of a component may end as it likes
        if os.getpid() == owner and of_author(caller):
            place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
            message = f"error: {caller.f_code.co_name} called os._exit({status}) ({place})\n"
            os.write(2, message.encode(errors="backslashreplace"))
            status = status or 1
        real(status)

    os._exit = leave  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = real
