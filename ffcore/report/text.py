"""Formats numbers and tables for reports and the terminal."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

NOTHING = "–"


_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that change the direction of the text after them, beyond the name that they are in."""

_MARKDOWN = re.compile(r"[`*\[\]<>&]|(?<!\w)_|_(?!\w)|\\(?=[!-/:-@\[-`{-~])")
"""Characters with a meaning; a backslash has one only before punctuation, an underscore beside a word."""


def plain(text: object) -> str:
    r"""Returns a name or title of the user as one line that any terminal shows as text.

    >>> plain("two\nlines"), plain("\x1b[31mred")
    ('two lines', '\ufffd[31mred')
    """
    line = " ".join(str(text).split())
    odd = {c for c in line if unicodedata.category(c) in ("Cc", "Cs") or c in _TURNS}
    return line.translate(dict.fromkeys(map(ord, odd), "\ufffd")) if odd else line


def literal(text: object) -> str:
    r"""Returns a name or title of the user as markdown that shows it unchanged.

    >>> print(literal("[/b] *a* b_c"))
    \[/b\] \*a\* b_c
    """
    return _MARKDOWN.sub(r"\\\g<0>", plain(text))


def code(text: object) -> str:
    """Returns a text as code in markdown.

    >>> code("a"), code("a`b")
    ('`a`', '`` a`b ``')
    """
    line = plain(text)
    if "`" not in line:
        return f"`{line}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", line))))
    return f"{fence} {line} {fence}"


def percent(fraction: float | None) -> str:
    """Formats a fraction in percent.

    >>> percent(0.9864)
    '98.64 %'
    """
    return NOTHING if fraction is None else f"{100 * fraction:.2f} %"


def error(accuracy: float | None) -> str:
    """Formats the error of an accuracy, in percent.

    >>> error(0.9864)
    '1.36 %'
    """
    return NOTHING if accuracy is None else percent(1 - accuracy)


def standard_error(accuracy: float, samples: int) -> float:
    """Returns the standard error of an accuracy on independent samples, √(a (1 − a) / N) (binomial)."""
    return math.sqrt(max(accuracy * (1 - accuracy), 0.0) / samples)


def duration(seconds: float | None) -> str:
    """Formats a time, with a precision that decreases with its length.

    >>> duration(3.21), duration(252), duration(7500)
    ('3.2 s', '4 min 12 s', '2 h 05 min')
    """
    if seconds is None:
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def clock(seconds: float | None) -> str:
    """Formats a time in few characters.

    >>> clock(3.21), clock(252), clock(7500)
    ('0:03', '4:12', '2:05:00')
    """
    if seconds is None:
        return NOTHING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def count(number: float | None) -> str:
    """Formats a large number with a comma between groups of three digits.

    >>> count(1834000)
    '1,834,000'
    """
    return NOTHING if number is None else f"{number:,.0f}"


def number(value: float | None) -> str:
    """Formats a measure with four digits.

    >>> number(0.95312), number(17.3), number(None)
    ('0.9531', '17.3', '–')
    """
    return NOTHING if value is None else f"{value:.4g}"


def short(number: float | None) -> str:
    """Formats a large number with two or three digits and a unit.

    >>> short(640), short(533500), short(1834000), short(4.79e13)
    ('640', '534 k', '1.8 M', '48 T')
    """
    if number is None:
        return NOTHING
    # 0.9995: a number that would be rounded to 1000 of a unit gets the next unit
    for size, unit in ((1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * size:
            value = number / size
            return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"
    return f"{number:.0f}"


def plural(number: float, noun: str) -> str:
    """Formats a number with a noun.

    >>> plural(1, "epoch"), plural(1500, "epoch")
    ('1 epoch', '1,500 epochs')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def memory(size: float | None) -> str:
    """Formats bytes in MiB or GiB.

    >>> memory(3 * 2**30)
    '3.0 GiB'
    """
    if size is None:
        return NOTHING
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def size(number: float | None) -> str:
    """Formats bytes with three digits and a unit, for devices of any size.

    >>> size(512), size(4344), size(533500), size(2134000)
    ('512 B', '4.24 KiB', '521 KiB', '2.04 MiB')
    """
    if number is None:
        return NOTHING
    # 999.5: a number that would be rounded to 1000 of a unit gets the next unit
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if number >= 999.5 * 1024 ** (power - 1):
            value = number / 1024**power
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return f"{number:.0f} B"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = True) -> str:
    """Returns a markdown table. The first column is aligned left, the others right if they are numbers."""
    lines = [list(columns), ["---", *["---:" if numbers else "---"] * (len(columns) - 1)]]
    lines += [[re.sub(r"\s*\n\s*", " ", str(cell)).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
