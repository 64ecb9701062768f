"""The pages of the docs and their code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

COMMENT = r"(?:<!-- (?P<marker>[a-z ]+)(?:: (?P<text>[^\n]+?))? -->\n)?"
BLOCK = re.compile(
    rf"^{COMMENT}(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A code block of a page. ``marker`` is that of the comment in the line before it, or ""."""

    language: str
    code: str
    line: int
    marker: str
    text: str


def pages() -> list[Path]:
    """The Markdown files of the checkout: those of the docs, and those beside the README."""
    return sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def name(page: Path) -> str:
    """The path of a page in the checkout."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        code = dedent(match["code"])
        yield Block(match["language"], code, line, match["marker"] or "", match["text"] or "")
