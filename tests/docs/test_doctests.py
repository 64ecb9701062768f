"""The examples in docstrings, in all files that have some but those of exports, which take seconds each."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    path.relative_to(top)
    for top in (ROOT, ROOT / "plugins")
    for path in sorted(top.glob("ffcore*/**/*.py"))
    if "exports" not in path.parts
    and any(line.lstrip().startswith(">>> ") for line in path.read_text(encoding="utf-8").splitlines())
]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_examples_in_docstrings_run(file, plugins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(".".join(file.with_suffix("").parts).removesuffix(".__init__"))
    assert not doctest.testmod(module).failed
