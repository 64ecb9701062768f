"""`Document`: the parts of a report, from which both ``report.md`` and ``report.html`` are written."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ffcore.blame import reported
from ffcore.errors import FOREIGN
from ffcore.files import write_whole
from ffcore.report.html import to_html
from ffcore.report.section import Picture, Section
from ffcore.report.text import literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARP = 220
"""Dots per inch of bitmaps inside SVG files: twice the resolution of a screen."""


_CLIP = re.compile(r'(?<=url\(#)p[0-9a-f]{10}(?=\))|(?<=<clipPath id=")p[0-9a-f]{10}(?=")')
_MINUS_ZERO = re.compile(r"(?<![\w.])-0(?![\w.])")


@dataclass(frozen=True, slots=True)
class Plate:
    """A rendered picture.

    Args:
        file: path of the PNG, relative to the report.
        svg: the picture as SVG.
        width: in inches.
        caption: markdown of one line.
    """

    file: str
    svg: str
    width: float
    caption: str


@dataclass(frozen=True, slots=True)
class Part:
    """A section with rendered pictures; without a title it continues the section before it."""

    title: str = ""
    body: str = ""
    plates: list[Plate] = field(default_factory=list)


class Document:
    """Collects the parts of a report. If a part fails, a line with the error takes its place.

    Args:
        title: the title of the report.
        folder: the directory of ``report.md``, ``report.html`` and ``pictures/``.
        complain: called with one line for every part that failed.
    """

    def __init__(self, title: str, folder: Path, complain: Callable[[str], None]) -> None:
        self.title = title
        self.folder = folder
        self.parts: list[Part] = []
        self._complain = complain
        self._taken: set[str] = set()

    def add(self, name: str, make: Callable[[], Section | None]) -> None:
        """Add a section.

        Args:
            name: name of the section, for error messages.
            make: returns the section, or None to add nothing.
        """
        self._guarded(name, lambda: self._drawn(make()))

    def cover(self, make: Callable[[], Picture]) -> None:
        """Add the picture that is written beside the report, as ``<name>.png``, not in ``pictures/``."""
        self._guarded("overview", lambda: Part(plates=[self._plate(make(), self.folder)]))

    def _guarded(self, name: str, make: Callable[[], Part | None]) -> None:
        try:
            part = make()
        except FOREIGN as error:  # a section of a plugin must not prevent the report
            message = f"{name} failed: {reported(error)}"
            self._complain(message)
            part = Part(body=f"*{literal(message)}*")
        if part is not None:
            self.parts.append(part)

    def write(self, name: str = "report") -> Path:
        """Write ``report.md`` and ``report.html``, or files of another name.

        Returns:
            The path of ``report.md``.
        """
        texts = {"md": self.markdown(), "html": to_html(self.title, self.parts)}
        for file, text in ((f"{name}.{suffix}", text) for suffix, text in texts.items()):
            # text is bound as default: a closure would see the last value of the loop
            write_whole(self.folder / file, lambda path, text=text: path.write_text(text, encoding="utf-8"))  # type: ignore[misc]
        return self.folder / f"{name}.md"

    def markdown(self) -> str:
        """Returns the report as markdown, which refers to the PNG files."""
        lines = [f"# {literal(self.title)}"]
        for part in self.parts:
            lines += [f"## {part.title}" if part.title else "", part.body]
            for plate in part.plates:
                lines += [f"![{plate.caption}]({plate.file})", f"*{plate.caption}*"]
        return "\n\n".join(line for line in lines if line) + "\n"

    def _drawn(self, section: Section | None) -> Part | None:
        if section is None:
            return None
        if not isinstance(section, Section):
            raise TypeError(
                f"a section should be an ffcore.report.Section or None, not {type(section).__name__}"
            )
        plates = []
        for picture in section.pictures:
            if picture.name in self._taken:
                raise ValueError(f"two pictures have the name {picture.name!r}")
            self._taken.add(picture.name)
            plates.append(self._plate(picture, self.folder / "pictures"))
        return Part(section.title, section.body, plates)

    def _plate(self, picture: Picture, folder: Path) -> Plate:
        folder.mkdir(exist_ok=True)
        file = folder / f"{picture.name}.png"
        write_whole(file, lambda path: picture.figure.savefig(path, format="png"))
        width = float(picture.figure.get_size_inches()[0])
        return Plate(file.relative_to(self.folder).as_posix(), _svg(picture.figure), width, picture.caption)


def _svg(figure: Figure) -> str:
    """Returns the figure as SVG, the same text each time."""
    target = io.StringIO()
    figure.savefig(target, format="svg", dpi=SHARP, metadata={"Date": None, "Creator": None})
    # The layout solver's last bits vary. They change the hashes that name clip paths, and the sign of zero.
    names: dict[str, str] = {}
    named = _CLIP.sub(lambda match: names.setdefault(match[0], f"clip{len(names)}"), target.getvalue())
    return _MINUS_ZERO.sub("0", named)
