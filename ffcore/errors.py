"""Exceptions of ffcore, and helpers for their messages."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

FOREIGN = (Exception, SystemExit, GeneratorExit)
"""What code that is not ffcore's own may raise. Everything else is left to `ffcore.blame.blaming`."""

__all__ = ["BoxError", "LostError", "RunError", "TimeUpError", "UserError"]


class UserError(ValueError):
    """A mistake that the user can correct. The command prints one line, writes nothing and exits with 2."""

    everywhere = False  # whether all ranks raise it; see `everywhere`
    unwritten = False  # whether it was raised while an existing run directory was not changed yet
    several_lines = False  # whether its message has a line for each of several problems


class RunError(RuntimeError):
    """Training had to stop. The command prints one line, keeps the last checkpoint and exits with 1."""

    everywhere = False


class BoxError(RunError):
    """A black box has failed. Once it works, the run can be resumed."""


class LostError(RunError):
    """Another rank has ended, and this rank cannot continue without it.

    Attributes:
        hint: advice for the user.
    """

    hint = ""


E = TypeVar("E", UserError, RunError)


def everywhere(error: E) -> E:
    """Mark an error that all ranks raise together; then only rank 0 prints it."""
    error.everywhere = True
    return error


class TimeUpError(RuntimeError):
    """The time limit of a run has passed. The run can be resumed from its last checkpoint.

    Args:
        path: the run directory.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: the time is up before the run is finished")
        self.path = path


def one_line(error: object, longest: int | None = None) -> str:
    r"""Return an error's message as one line of at most ``longest`` characters, or its type if it is empty.

    >>> one_line(ValueError("no\n   file"))
    'no file'
    >>> one_line(NotImplementedError())
    'NotImplementedError'
    """
    return " ".join(_text(error).split())[:longest] or type(error).__name__


def typed(error: BaseException, longest: int | None = None) -> str:
    r"""Return an error's type and, if it has one, its message as one line of at most ``longest`` characters.

    >>> typed(KeyError("x")), typed(NotImplementedError())
    ("KeyError: 'x'", 'NotImplementedError')
    """
    name = type(error).__name__
    return f"{name}: {one_line(error, longest)}" if _text(error).strip() else name


def reason(error: Exception) -> str:
    """Returns the cause of an error of a file, without the path that the operating system adds.

    >>> reason(FileNotFoundError(2, "No such file or directory", "x.yaml"))
    'No such file or directory'
    """
    return getattr(error, "strerror", None) or one_line(error)


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message, or its type if the message is empty.

    >>> first_line(ValueError("no file\nsee the manual"))
    'no file'
    """
    return next(iter(_text(error).strip().splitlines()), type(error).__name__)


def _text(error: object) -> str:
    try:
        return str(error)
    except Exception:  # raised by the error's own __str__
        return ""


def a(word: str) -> str:
    """Returns a word with its article."""
    return f"{'an' if word[0] in 'aeiouAEIOU' else 'a'} {word}"


def shortened(value: object, longest: int = 60) -> str:
    """Returns the repr of a value, cut to ``longest`` characters.

    >>> shortened("a" * 100, 10)
    "'aaaaaaaa…"
    """
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        text = hex(value) if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def closest(name: str, known: Iterable[str], listed_by: str | None = None) -> str:
    """Return the end of an error message: ``; did you mean 'x'?`` or the list of known names.

    >>> closest("overlya", ["overlay", "fourier"])
    "; did you mean 'overlay'?"
    >>> closest("zzz", ["overlay", "fourier"])
    '; known: fourier, overlay'

    Args:
        name: the unknown name.
        known: the known ones.
        listed_by: of many known names, the command that lists them, in place of the list.
    """
    names = sorted(known)
    same = [each for each in names if each.lower() == name.lower()]
    near = same or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    if listed_by is not None:
        return f"; `{listed_by}` lists all"
    return f"; known: {', '.join(names)}" if names else ""


def expect_time(max_time: object) -> None:
    """Check a time limit in seconds.

    Raises:
        UserError: it is neither None nor a number above 0.
    """
    number = isinstance(max_time, numbers.Real) and not isinstance(max_time, bool)
    if max_time is not None and not (number and 0 < float(cast(Any, max_time)) < float("inf")):
        raise UserError(f"max_time: {max_time!r} should be a number of seconds above 0, or None")


def expect(name: str, value: object, types: type | tuple[type, ...], right: str) -> None:
    """Check the type of an argument; a truth value is not a number.

    >>> expect("seed", "1", int, "an integer")
    Traceback (most recent call last):
    ffcore.errors.UserError: seed: should be an integer, not '1'

    Raises:
        UserError: with the name, the value and what would be right.
    """
    if types is int:  # NumPy's integers and reals count too
        types = numbers.Integral
    elif types == (int, float):
        types = numbers.Real
    if not isinstance(value, types) or (types is numbers.Integral and isinstance(value, bool)):
        given = repr(value)
        short = given if len(given) < 60 else f"an object of type {type(value).__name__}"
        raise UserError(f"{name}: should be {right}, not {short}")


def expect_count(name: str, value: Any, least: int = 1) -> None:
    """Check that an argument is an integer from ``least``.

    >>> expect_count("size", 0)
    Traceback (most recent call last):
    ffcore.errors.UserError: size: should be an integer from 1, not 0

    Raises:
        UserError: with the name, the value and what would be right.
    """
    right = f"an integer from {least}"
    expect(name, value, int, right)
    if value < least:
        raise UserError(f"{name}: should be {right}, not {value}")


@contextmanager
def at_path(path: str) -> Iterator[None]:
    """Turn a ValueError into a UserError with a path, such as that of a recipe entry, before its message.

    Raises:
        UserError: with the path before the message; a UserError raised inside is not changed.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
