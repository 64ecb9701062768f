"""How messages name an option: as on the command line, or as an argument of a function in Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ffcore.plugin import manager

_PYTHON: ContextVar[bool] = ContextVar("_PYTHON", default=False)


@contextmanager
def in_python() -> Iterator[None]:
    """Name options as arguments in Python, within the context."""
    token = _PYTHON.set(True)
    try:
        yield
    finally:
        _PYTHON.reset(token)


def either(command_line: str, python: str) -> str:
    """Returns the text for the caller: a user of the command line, or of Python."""
    return python if _PYTHON.get() else command_line


def option(name: str, value: str = "", python: str | None = None) -> str:
    """Returns an option with its value.

    >>> option("trials", "N"), option("prune")
    ('--trials N', '--prune')
    >>> with in_python():
    ...     option("trials", "N"), option("prune"), option("seeds", "1,2", "[1, 2]")
    ('trials=N', 'prune', 'seeds=[1, 2]')

    Args:
        name: its name, also that of the argument.
        value: its value on the command line.
        python: its value in Python; None if it is written in the same way.
    """
    there = value if python is None else python
    return either(f"--{name} {value}".rstrip(), f"{name}={there}" if there else name)


def again(folder: Path) -> str:
    """Returns what resumes a sweep, in backquotes."""
    return either(
        f"`{manager.command('sweep', '--resume', str(folder))}`",
        f"`ffcore.sweeps.swept.Swept.read({str(folder)!r}).resume()`",
    )
