"""The code and commands in the README and the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import ffcore
from ffcore.plugin.manager import Plugins, current, use
from ffcore.recipe.load import find, names
from ffcore.recipe.schema import Recipe
from ffcore.testing import cases

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def plugin_of(tmp_path: Path):
    """Writes the plugin of a page to a file and loads it."""
    before = current()

    def load(page: str, having: str) -> Plugins:
        code = next(block for block in blocks(page, "python") if having in block)
        path = tmp_path / "my_plugin.py"
        path.write_text(code, encoding="utf-8")
        plugins = Plugins.load([str(path)])
        use(plugins)
        return plugins

    yield load
    use(before)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_are_valid(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(
    ("page", "having", "recipe", "override"),
    [
        ("README.md", "SumAbsolute", "digits/ff", "block.goodness.kind=sum-absolute"),
        ("docs/writing-plugins.md", "LogCosh", "digits/ff", "block.goodness.kind=log-cosh"),
        ("docs/writing-plugins.md", "class Small", "digits/ff", "block.penalties.small.kind=small"),
        ("docs/writing-plugins.md", "AboveMedian", "digits/blackbox-sign", "network.1.box.kind=above-median"),
    ],
)
def test_the_plugins_in_the_docs_train(
    plugin_of, undrawn: None, tmp_path: Path, page: str, having: str, recipe: str, override: str
) -> None:
    plugin_of(page, having)
    path, value = override.split("=")
    run = ffcore.train(
        recipe, run_dir=tmp_path / "run", trainer={"max_epochs": 1, "threads": 1}, **{path: value}
    )
    assert run.results["steps"] > 0


def test_the_plugin_in_the_guide_passes_the_conformance_kit(plugin_of) -> None:
    plugin_of("docs/writing-plugins.md", "LogCosh")
    mine = cases(plugin="my_plugin")
    assert mine
    for case in mine:
        case.run()


def test_the_recipe_page_shows_a_valid_recipe() -> None:
    (text,) = blocks("docs/recipes.md", "yaml")
    shown = yaml.safe_load(text)
    del shown["base"]
    assert Recipe.model_validate(shown).name == "mnist/ff"


def test_every_plugin_and_recipe_is_listed_in_the_docs() -> None:
    pages = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs/plugins").glob("*.md")}
    for noun in ("algorithm", "goodness", "objective", "penalty", "negative", "label", "handoff", "schedule"):
        for entry in current().registry.entries(noun):
            assert f"`{entry.name}`" in pages[entry.plugin], f"{noun} {entry.name}"
    for name in names():
        assert any(f"`{name}`" in text for text in pages.values()), name
        assert find(name).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_page_has_an_unfilled_placeholder(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert not re.findall(r"\{[a-z]+\}", re.sub(r"`[^`\n]*`", "", text))


def test_the_loop_in_the_readme_learns(capsys: pytest.CaptureFixture[str]) -> None:
    code = next(block for block in blocks("README.md", "python") if "ffcore.Network(" in block)
    assert len(code.splitlines()) <= 34
    exec(compile(code, "README.md", "exec"), {})
    assert float(re.findall(r"tensor\(([\d.]+)\)", capsys.readouterr().out)[0]) > 0.7
