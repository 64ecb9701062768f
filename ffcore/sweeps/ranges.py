"""The ranges of a search: ``log:1e-4:1e-1``, ``linear:0:0.5``, ``int:1:8``, ``choice:adam,sgd``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ffcore.errors import UserError, closest, shortened
from ffcore.recipe.text import parse_value
from ffcore.sweeps.grid import refuse_twice, split
from ffcore.sweeps.wording import option

WORDS = ("log", "linear", "int", "choice")
EXAMPLES = "log:1e-4:1e-1, linear:0:0.5, int:1:8 or choice:a,b"
_WORD = re.compile(r"\s*([A-Za-z_-]+):(.*)", re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z][\w./-]*")
_INSIDE = (math.sqrt(5) - 1) / 2
"""Where in a range a value between its ends is tried: an irrational part, so that it is no whole number."""


@dataclass(frozen=True)
class Range:
    """The values that a search may give to one parameter.

    Attributes:
        path: the path of the parameter in the recipe.
        word: "log", "linear", "int" or "choice".
        low: the lower end; 0 for choices.
        high: the upper end, which belongs to the range; 0 for choices.
        choices: the values of a choice, as they are written in an override.
    """

    path: str
    word: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.word == "choice":
            return f"choice:{','.join(self.choices)}"
        ends = (text_of(end).removesuffix(".0") for end in (self.low, self.high))
        return ":".join((self.word, *ends))

    def tried(self) -> tuple[str, ...]:
        """Returns the values that are checked before a search: both ends and one between, or all choices."""
        if self.word == "choice":
            return self.choices
        if self.word == "int":
            return tuple(dict.fromkeys((text_of(int(self.low)), text_of(int(self.high)))))
        if self.word == "log":
            inside = self.low * (self.high / self.low) ** _INSIDE
        else:
            inside = self.low + (self.high - self.low) * _INSIDE
        return tuple(map(text_of, (self.low, inside, self.high)))


def text_of(value: Any) -> str:
    """Returns a value of a trial as it is written in an override.

    >>> text_of(0.001), text_of(3), text_of("adam")
    ('0.001', '3', 'adam')
    """
    return value if isinstance(value, str) else repr(value)


def looks(override: str) -> bool:
    """Whether an override has a range such as ``log:1:2``, also one with a word that does not exist."""
    _, _, text = override.partition("=")
    match = _WORD.fullmatch(text)
    return match is not None and (match[1] in WORDS or text.count(":") == 2)


def known(override: str) -> bool:
    """Whether an override begins with the word of a range."""
    match = _WORD.fullmatch(override.partition("=")[2])
    return match is not None and match[1] in WORDS


def parse_range(path: str, text: str) -> Range:
    """Read the range of a parameter.

    >>> parse_range("network.0.units", "int:10:500").tried()
    ('10', '500')

    Args:
        path: the path of the parameter.
        text: such as ``log:1e-4:1e-1``.

    Raises:
        UserError: the word is unknown, an end is not a number, or the ends are in the wrong order.
    """
    where = f"{path}: {shortened(text, 80)}"
    match = _WORD.fullmatch(text)
    if match is None or match[1] not in WORDS:
        hint = closest(match[1], WORDS) if match is not None else ""
        meant = hint if "mean" in hint else ""  # all words are in the examples
        raise UserError(f"{where} is not a range; write {EXAMPLES}{meant}")
    if path == "seed":
        seeds = option("seeds", "1,2,3", "[1, 2, 3]")
        raise UserError(f"seed: a search does not choose the seed; give {seeds} to average over seeds")
    word, rest = match[1], match[2]
    if word == "choice":
        return choice(path, [value.strip() for value in split(rest)])
    ends = [end.strip() for end in rest.split(":")]
    if len(ends) != 2:
        raise UserError(f"{where}: should have a lower and an upper end, as in {word}:{_example(word)}")
    low, high = (_number(where, end, whole=word == "int") for end in ends)
    if low >= high:
        raise UserError(f"{where}: the lower end should be below the upper end")
    if word == "log" and low <= 0:
        raise UserError(f"{where}: the lower end of a log range should be above 0")
    return Range(path, word, low, high)


def choice(path: str, values: Sequence[str]) -> Range:
    """Returns the range of a list of values.

    Raises:
        UserError: there are fewer than two values, one is empty, or one is given twice.
    """
    refuse_twice([f"{path}={value}" for value in values])
    if len(values) < 2:
        raise UserError(f"{path}: {shortened(','.join(values))}: a choice should have two values or more")
    return Range(path, "choice", choices=tuple(values))


def as_override(path: str, value: Any) -> str:
    """Returns a value from Python as an override, such as ``optimizer.lr=0.001``.

    Raises:
        UserError: the value has a number that is not finite, or is an object, which another process cannot be
            given.
    """
    if isinstance(value, str) and _PLAIN.fullmatch(value) and parse_value(value) == value:
        return f"{path}={value}"
    try:
        # other text is quoted: "1" is not the number 1
        return f"{path}={json.dumps(value, allow_nan=False)}"
    except ValueError as error:
        raise UserError(f"{path}: {shortened(value)} should be finite") from error
    except TypeError as error:
        raise UserError(
            f"{path}: {shortened(value)}: each run of a sweep is a process, which reads numbers, text and "
            "lists; name a class as package.module:Class"
        ) from error


def from_python(search: Mapping[str, Any]) -> list[str]:
    """Returns the overrides of ``search``: ranges are text as on the command line, lists are choices.

    >>> from_python({"optimizer.lr": "log:1e-4:1e-1", "optimizer.kind": ["adam", "sgd"]})
    ['optimizer.lr=log:1e-4:1e-1', 'optimizer.kind=adam,sgd']

    Raises:
        UserError: a value is neither a range nor a list.
    """
    made = []
    for path, value in search.items():
        if isinstance(value, str) and looks(f"{path}={value}"):
            made.append(f"{path}={value}")
        elif isinstance(value, list | tuple) and value:
            texts = (as_override(path, one).removeprefix(f"{path}=") for one in value)
            made.append(f"{path}={','.join(texts)}")
        else:
            raise UserError(f"search: {path}: {shortened(value)} should be {EXAMPLES}, or a list of values")
    return made


def _example(word: str) -> str:
    return {"log": "1e-4:1e-1", "linear": "0:0.5", "int": "1:8"}[word]


def _number(where: str, text: str, *, whole: bool) -> float:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        sort = "a whole number" if whole else "a number"
        raise UserError(f"{where}: {shortened(text, 30)} should be {sort}") from None
    if not math.isfinite(value):
        raise UserError(f"{where}: {shortened(text, 30)} should be finite")
    return value
