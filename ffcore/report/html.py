"""Writes the report as one HTML file with its style and pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

    from ffcore.report.document import Part, Plate

STYLE = Path(__file__).with_name("page.css")

REM_PER_INCH = 6.75
"""Scale of pictures on the page: their text of 8 points gets three quarters of the page's font size."""


def to_html(title: str, parts: Sequence[Part]) -> str:
    """Returns the HTML page.

    Args:
        title: the title.
        parts: the parts of the report. Their bodies are markdown; HTML tags in it are escaped.
    """
    markdown = _markdown()
    body = [f"<h1>{escape(title)}</h1>", *_contents(markdown, parts)]
    for number, part in enumerate(parts):
        heading = f'<h2 id="section-{number}">{markdown.renderInline(part.title)}</h2>'
        inside = [heading] if part.title else []
        inside.append(markdown.render(part.body).strip())
        inside += [_figure(markdown, plate) for plate in part.plates]
        body.append("\n".join(["<section>", *filter(None, inside), "</section>"]))
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE.read_text(encoding='utf-8').strip()}\n</style>",
            "</head>",
            "<body>",
            "<main>",
            *body,
            "</main>",
            "</body>",
            "</html>\n",
        ]
    )


def _contents(markdown: MarkdownIt, parts: Sequence[Part]) -> list[str]:
    """Return links to the sections, if there are several."""
    links = [
        f'<a href="#section-{number}">{markdown.renderInline(part.title)}</a>'
        for number, part in enumerate(parts)
        if part.title
    ]
    return [f'<nav aria-label="Contents">{" ".join(links)}</nav>'] if len(links) > 2 else []


def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    # a table that is wider than the screen of a phone scrolls inside this element
    markdown.add_render_rule("table_open", lambda *_: '<div class="wide"><table>\n')
    markdown.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return markdown


def _figure(markdown: MarkdownIt, plate: Plate) -> str:
    # An image, not inline SVG: identifiers of several inline SVGs on a page would collide.
    data = base64.b64encode(plate.svg.encode()).decode()
    width = f"{REM_PER_INCH * plate.width:.1f}rem"
    return (
        f'<figure>\n<div class="wide"><img style="--width: {width}" alt="{escape(plate.caption)}" '
        f'src="data:image/svg+xml;base64,{data}"></div>\n'
        f"<figcaption>{markdown.renderInline(plate.caption)}</figcaption>\n</figure>"
    )
