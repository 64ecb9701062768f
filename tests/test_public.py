"""Public names: what docs/api.md lists can be imported, is documented, and is all there is."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ffcore

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
MODULES = re.findall(r"^\| `(ffcore[a-z0-9_.]*)` \|", PAGE, re.MULTILINE)
INTERNAL = PAGE.partition("Packages without public names")[2].partition("\n\n")[0]


def packages() -> list[str]:
    roots = (ROOT, ROOT / "plugins")
    folders = [
        path.parent.relative_to(root) for root in roots for path in root.glob("ffcore*/**/__init__.py")
    ]
    return sorted(".".join(folder.parts) for folder in folders)


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_sorted_and_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    assert module.__all__ == sorted(set(module.__all__))
    for public in module.__all__:
        found = getattr(module, public)
        assert getattr(found, "__doc__", None), f"{name}.{public} has no docstring"
        if isinstance(found, type):
            own = vars(found).get("__doc__") or ""
            assert own, f"{name}.{public} has no docstring of its own"
            assert not own.startswith(f"{public}("), f"{name}.{public}: dataclasses made this docstring"
        assert public in dir(module)


@pytest.mark.parametrize("name", packages())
def test_a_package_has_public_names_or_is_said_to_be_internal(name: str) -> None:
    if hasattr(importlib.import_module(name), "__all__"):
        assert name in MODULES
    else:
        assert f"`{name}`" in INTERNAL


def test_every_package_says_that_it_is_typed() -> None:
    for folder in [ROOT / "ffcore", *(ROOT / "plugins").glob("ffcore_*")]:
        assert (folder / "py.typed").is_file(), folder


def test_the_star_gives_the_names_and_nothing_else() -> None:
    space: dict[str, object] = {}
    exec("from ffcore import *", space)
    assert space.keys() - {"__builtins__"} == set(ffcore.__all__)
    assert {*ffcore.__all__, "__version__"} <= set(dir(ffcore))


def test_no_other_name_is_found() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        ffcore.nothing  # noqa: B018


def test_the_version_is_said_in_one_place() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ffcore.__version__
    assert "\nversion =" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.")[0]
    command = [sys.executable, "-c", "import sys, ffcore; print(ffcore.__version__, 'torch' in sys.modules)"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.split() == [ffcore.__version__, "False"]
