from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ffcore.plugin.manager import Plugins
from ffcore.plugin.registry import Entry
from ffcore.report import Picture, Section, write_report
from ffcore.report.style import new_figure
from tests.report.conftest import FakeRun, Only


class Page(HTMLParser):
    """The visible text of a page, and the URLs that it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: dict[str, list[str]] = {}
        self.tags: list[str] = []
        self.sources: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "link", "br", "hr"):
            self._open.append(tag)
        links = [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        self.sources += [link for link in links if not link.startswith("#")]  # not those within the page

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self._open[-1:]:
            self.words.setdefault(tag, []).append(data)


def page(report: Path) -> Page:
    return Page(report.with_suffix(".html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def report(written: Path) -> Path:
    return written / "report.md"


def test_page_has_the_content_of_the_markdown(report: Path) -> None:
    seen = page(report)
    text = report.read_text()
    assert seen.words["h2"] == re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert seen.words["figcaption"] == re.findall(r"^\*(.*)\*$", text, re.MULTILINE)
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    assert seen.tags.count("tr") == len(rows)
    assert "A fake | run" in seen.words["h1"]


def test_page_fetches_nothing(report: Path) -> None:
    seen = page(report)
    assert seen.sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in seen.sources)
    assert {"script", "link", "iframe"}.isdisjoint(seen.tags)
    style = "".join(seen.words["style"])
    assert "url(" not in style
    assert "@import" not in style


def test_the_contents_link_to_every_section(report: Path) -> None:
    text = report.read_text() if report.suffix == ".html" else report.with_suffix(".html").read_text()
    links = re.findall(r'<a href="#(section-\d+)">([^<]+)</a>', text)
    titles = re.findall(r'<h2 id="(section-\d+)">([^<]+)</h2>', text)
    assert links == titles
    assert len(links) > 3


def test_every_picture_is_inside_as_vector_graphics(report: Path) -> None:
    inside = [base64.b64decode(source.partition(",")[2]) for source in page(report).sources]
    assert len(inside) == report.read_text().count("![")
    assert all(ElementTree.fromstring(picture).tag.endswith("}svg") for picture in inside)


@pytest.mark.thorough
def test_page_is_the_same_when_written_again(written: Path, again: Path) -> None:
    first, second = written / "report.html", again / "report.html"
    assert second.read_bytes() == first.read_bytes()
    assert second.stat().st_mtime_ns > first.stat().st_mtime_ns


def test_html_in_a_run_is_escaped(fake_run: FakeRun, only: Only, no_plugins: Plugins) -> None:
    only("summary", "confusion")

    def mine(run: object) -> Section:
        figure = new_figure(1, 1)
        return Section("<b>T</b>", "<script>alert(1)</script>", [Picture("own", figure, '"<img src=x>"')])

    no_plugins.registry.add(Entry("report_section", "mine", mine, "someone"))
    seen = page(write_report(fake_run(classes=["<i>", "&amp;", "x", "y"])))
    assert {"script", "b", "i"}.isdisjoint(seen.tags)
    assert "<script>alert(1)</script>" in "".join(seen.words["p"])
    assert "x" not in seen.sources


def test_failed_section_is_reported_on_the_page(small_run: Path, no_plugins: Plugins) -> None:
    def broken(run: object) -> Section:
        raise KeyError("ink")

    no_plugins.registry.add(Entry("report_section", "mine", broken, "someone"))
    seen = page(write_report(small_run))
    line = f"{__file__}:{broken.__code__.co_firstlineno + 1}"
    assert f"report section 'mine' of plugin 'someone' failed: KeyError: 'ink' ({line})" in seen.words["em"]
