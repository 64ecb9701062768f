"""What ffcore says to a user who gave it something that cannot work."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

__all__ = ["LostError", "RunError", "TimeUpError", "UserError"]


class UserError(ValueError):
    """Something the user can put right: shown as one line, exit code 2, nothing written."""

    everywhere = False


class RunError(RuntimeError):
    """Training could not go on: shown as one line, exit code 1, the last checkpoint intact."""

    everywhere = False


class LostError(RunError):
    """Another rank has ended, so that this one cannot go on.

    Attributes:
        hint: what to do then.
    """

    hint = ""


E = TypeVar("E", UserError, RunError)


def everywhere(error: E) -> E:
    """Mark what all ranks raise together, so that only the first one tells it."""
    error.everywhere = True
    return error


class TimeUpError(RuntimeError):
    """The time that a run was given is over; it can go on from its last checkpoint.

    Args:
        path: the run's folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: the time is up before the run is finished")
        self.path = path


def one_line(error: BaseException, longest: int | None = None) -> str:
    r"""What an error says, in one line of at most so many letters; its type where it says nothing.

    >>> one_line(ValueError("no\n   file"))
    'no file'
    >>> one_line(NotImplementedError())
    'NotImplementedError'
    """
    return " ".join(str(error).split())[:longest] or type(error).__name__


def typed(error: BaseException, longest: int | None = None) -> str:
    r"""Its type, and what it says in one line of at most so many letters, if it says something.

    >>> typed(KeyError("x")), typed(NotImplementedError())
    ("KeyError: 'x'", 'NotImplementedError')
    """
    name = type(error).__name__
    return f"{name}: {one_line(error, longest)}" if str(error).strip() else name


def first_line(error: BaseException) -> str:
    r"""The first line of what an error says; its type where it says nothing.

    >>> first_line(ValueError("no file\nsee the manual"))
    'no file'
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def closest(name: str, known: Iterable[str]) -> str:
    """The ending of an error message: ``; did you mean 'x'?`` or the list of what is known.

    >>> closest("overlya", ["overlay", "fourier"])
    "; did you mean 'overlay'?"
    >>> closest("zzz", ["overlay", "fourier"])
    '; known: fourier, overlay'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""


@contextmanager
def at_path(path: str) -> Iterator[None]:
    """Put a path, such as that of a recipe, before what a component raises as a ValueError.

    Raises:
        UserError: with the path; one that is raised inside stays as it is.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
