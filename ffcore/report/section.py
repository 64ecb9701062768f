"""`Section` and `Picture`: the parts of a report, which plugins can add to."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ffcore.errors import expect
from ffcore.reading import is_text
from ffcore.report.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure that is written to ``pictures/<name>.png``.

    Args:
        name: letters, digits, ``-`` and ``_``; unique within a report.
        figure: a matplotlib figure, made without pyplot.
        caption: one sentence, also the alternative text of the image.

    Raises:
        ValueError: the name has other characters.
    """

    name: str
    figure: Figure
    caption: str

    def __post_init__(self) -> None:
        expect("name of a picture", self.name, str, "text")
        expect(f"caption of the picture {self.name}", self.caption, str, "text")
        if not is_text(self.caption):
            raise ValueError(f"the caption of picture {self.name!a} has characters that UTF-8 cannot store")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise ValueError(f"{self.name!r} is not a valid picture name: letters, digits, '-' and '_' only")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report.

    Args:
        title: the heading.
        body: markdown.
        pictures: shown after the body.
    """

    title: str
    body: str = ""
    pictures: list[Picture] = field(default_factory=list)

    def __post_init__(self) -> None:
        expect("title of a section", self.title, str, "text")
        expect(f"body of the section {self.title!r}", self.body, str, "markdown")
        if not is_text(self.title + self.body):
            raise ValueError(f"the section {self.title!a} has characters that UTF-8 cannot store")
        expect(f"pictures of the section {self.title!r}", self.pictures, (list, tuple), "a list of pictures")


SectionMaker = Callable[[RunRecord], Section | None]
"""Type of the functions that plugins register: returns a section of a run, or None to add nothing."""
