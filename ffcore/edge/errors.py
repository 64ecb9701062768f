"""Exceptions of the runtime."""

from __future__ import annotations

from operator import index
from typing import SupportsIndex


class EdgeError(Exception):
    r"""A mistake that the user can correct: one line with what is wrong, where, and what would be right.

    Attributes:
        exit_code: exit status of the command.

    >>> str(EdgeError("bundle.json: no\n  file"))
    'bundle.json: no file'
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


class StoppedError(EdgeError):
    """Learning or saving had to stop: a non-finite loss, a full disk, a failure of the engine."""

    exit_code = 1


def integer(name: str, value: object, least: int) -> int:
    """Return an integer.

    Raises:
        EdgeError: it is of another type, or below ``least``.

    >>> integer("epochs", 3, 1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex) or (made := index(value)) < least:
        raise EdgeError(f"{name}: should be an integer of at least {least}, not {value!r}")
    return made


def reason(error: BaseException) -> str:
    """Return the cause of an error, without the path that the operating system adds.

    >>> reason(FileNotFoundError(2, "No such file or directory", "x.npz"))
    'No such file or directory'
    """
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
