"""What a report is made of: sections with pictures, made from the record of a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ffcore.report.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure that goes to ``pictures/<name>.png``.

    Args:
        name: letters, digits, ``-`` and ``_``; no two pictures of a report share one.
        figure: a matplotlib figure, made without pyplot.
        caption: one sentence, also what is read out to those who cannot see it.

    Raises:
        ValueError: the name cannot be that of a file.
    """

    name: str
    figure: Figure
    caption: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise ValueError(f"a picture cannot be called {self.name!r}: letters, digits, '-' and '_' only")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report.

    Args:
        title: its heading.
        body: markdown.
        pictures: shown after the body.
    """

    title: str
    body: str = ""
    pictures: list[Picture] = field(default_factory=list)


SectionMaker = Callable[[RunRecord], Section | None]
"""What a plugin registers: a section of this run, or None where there is nothing to say."""
