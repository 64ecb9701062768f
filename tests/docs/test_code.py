"""The Python code of every page and notebook runs, in order, in a namespace and a directory of its own.

A comment in the line before a block says what is special about it:

- ``<!-- not run: reason -->``: a fragment, or code that needs what a test does not have;
- ``<!-- file: name.py -->``: also a part of this file, which later blocks of the page use.

Names that only the text describes are made by ``preludes.py``.
"""

from __future__ import annotations

import json
import linecache
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ffcore
from ffcore.plugin import manager
from tests.chosen import thorough_but
from tests.docs.pages import DOCS, blocks, name, pages
from tests.docs.preludes import PRELUDES

LIGHTNING = (
    "ignore:.*does not have many workers",
    "ignore:Checkpoint directory",
    "ignore:.*LeafSpec",
    "ignore:.*(tensorboardX|log_every_n_steps)",
    "ignore:.*module.s. in eval mode",  # a network that was trained before, and then measured
)
COMMANDS = {"run", "test"}  # of the README: .ci/run takes its commands from there
CODE = [page for page in pages() if any(block.language == "python" for block in blocks(page))]
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))

pytestmark = [pytest.mark.filterwarnings(*LIGHTNING), pytest.mark.usefixtures("undrawn", "apart")]


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A working directory, plugins, threads, streams and random numbers of the page's own."""
    before, threads, modules = manager.current(), torch.get_num_threads(), set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "stdin", sys.stdin)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    manager.use(manager.Plugins.load([]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    manager.use(before)
    torch.set_num_threads(threads)
    for added in set(sys.modules) - modules:
        if str(getattr(sys.modules[added], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[added]


def run(code: str, where: str, line: int, names: dict[str, Any]) -> None:
    """Run a block. Its lines are those of the page, also for `inspect` and in tracebacks."""
    padded = "\n" * (line - 1) + code
    linecache.cache[where] = (len(padded), None, padded.splitlines(keepends=True), where)
    exec(compile(padded, where, "exec"), names)


def run_page(page: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "page"}
    exec(PRELUDES.get(name(page), ""), names)
    for block in blocks(page):
        if block.marker == "file":
            file = Path(block.text)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as end:
                end.write(block.code)
        if block.language == "python" and block.marker != "not run":
            run(block.code, name(page), block.line, names)
    return names


PAGES = {name(page): page for page in CODE}
LONG = {"docs/edge.md", "docs/plugins/pff.md"}


@pytest.mark.parametrize("page", thorough_but(PAGES.keys() - LONG, PAGES))
def test_the_code_of_a_page_runs(page: Path) -> None:
    run_page(page)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_the_cells_of_a_notebook_run(notebook: Path) -> None:
    names: dict[str, Any] = {"__name__": "notebook"}
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            run("".join(cell["source"]), f"{name(notebook)}, cell {number}", 1, names)


def test_the_package_of_the_tutorial_has_its_components_and_its_recipe() -> None:
    run_page(DOCS / "tutorial.md")
    shutil.copy("mono.py", "ffcore_mono/mono.py")
    plugins = manager.Plugins.load(["ffcore_mono/plugin.py"])
    manager.use(plugins)
    assert {entry.plugin for entry in plugins.registry.entries("goodness")} >= {"plugin"}
    net = ffcore.from_recipe("digits/mono", shape=(1, 8, 8), classes=10)
    assert type(net.blocks[0].goodness).__module__ == "ffcore_mono.mono"


def test_every_marker_is_known_and_has_a_text() -> None:
    for page in pages():
        for block in blocks(page):
            assert block.marker in {"", *COMMANDS, "not run", "file"}, f"{name(page)}:{block.line}"
            assert bool(block.text) == (block.marker in {"not run", "file"}), f"{name(page)}:{block.line}"


def test_every_prelude_has_a_page() -> None:
    assert PRELUDES.keys() <= {name(page) for page in CODE}
