"""What the site needs of its pages: valid anchors, a place in the navigation, notebooks without leftovers."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, name, pages

CONF = runpy.run_path(str(DOCS / "conf.py"))  # needs no Sphinx
FENCED = re.compile(r"^ *```.*?^ *```$", re.M | re.S)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub and MyST make them."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
        slug = slug.strip().replace(" ", "-")
        again = 1
        while slug in found:
            slug, again = f"{slug.removesuffix(f'-{again - 1}')}-{again}", again + 1
        found.add(slug)
    return found


@pytest.mark.parametrize("page", pages(), ids=name)
def test_anchors_of_links_are_headings(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        other = page.parent / target if target else page
        if other.suffix == ".md":
            assert anchor in anchors(other), f"{name(page)} links to {target}#{anchor}"


def listed() -> set[str]:
    """The pages in the navigation: toctrees of the index, and those that conf.py adds."""
    trees = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(encoding="utf-8"), re.S)
    entries = {line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")}
    return entries | {f"plugins/{page.stem}" for page in (DOCS / "plugins").glob("*.md")}


def test_every_page_is_in_the_navigation() -> None:
    sources = [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]
    there = {path.relative_to(DOCS).with_suffix("").as_posix() for path in sources}
    left_out = {pattern.removesuffix(".md") for pattern in CONF["exclude_patterns"]}
    assert there - left_out - {"index"} == listed()


def test_the_reference_has_a_page_for_every_public_module() -> None:
    modules = CONF["modules"]()
    assert "ffcore" in modules
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    assert len(modules) == len(re.findall(r"^\| `ffcore", page, re.M))


@pytest.mark.parametrize("notebook", sorted((DOCS / "notebooks").glob("*.ipynb")), ids=name)
def test_a_notebook_is_small_and_has_only_texts_as_outputs(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    assert len(text) < 10_000
    for cell in json.loads(text)["cells"]:
        assert not cell["metadata"]
        for output in cell.get("outputs", []):
            assert output["output_type"] in {"stream", "execute_result"}, notebook
            assert output.get("name") != "stderr", notebook
            assert set(output.get("data", {})) <= {"text/plain"}, notebook
    assert str(ROOT) not in text
