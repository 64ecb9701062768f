"""Checks of a registration: target, options and source."""

import sys
from importlib.metadata import EntryPoint

import pytest

from ffcore.errors import UserError
from ffcore.interfaces import (
    Goodness,
    Objective,
)
from ffcore.plugin.registry import Entry
from ffcore.plugin.signature import imported_signature
from ffcore.plugin.targets import load_target
from ffcore.testing import Example, run_check
from ffcore.testing.checks import entries


class SumSquares(Goodness):
    """A correct component."""

    def forward(self, activity):
        return activity.flatten(1).square().sum(1)

    def vjp(self, activity, up):
        return 2 * activity * up.view(-1, *(1,) * (activity.dim() - 1))


class Summed(Objective):
    """A sum where a mean is due."""

    def forward(self, goodness, views):
        return goodness.square().sum()


class Scaled(SumSquares):
    """Takes options.

    Args:
        scale: factor.
        labels: a nested component.
    """

    def __init__(self, scale: float = 1.0, *, sign: int = 1) -> None:
        super().__init__()


SOURCE = '''"""A goodness."""

from ffcore_ff.goodness import SumSquares


class Scaled(SumSquares):
    """Takes an option.

    Args:
        scale: factor.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
'''


def test_a_class_that_differs_from_its_source_is_caught(register, tmp_path, monkeypatch):
    (tmp_path / "with_source.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    register("goodness", "with_source:Scaled")
    run_check("goodness", "mine", "source reads as the class")
    load_target("with_source:Scaled").__init__.__defaults__ = (2.0,)
    imported_signature.cache_clear()
    with pytest.raises(AssertionError, match=r"the source has .*default=1\.0.* the class has .*default=2\.0"):
        run_check("goodness", "mine", "source reads as the class")


def test_options_without_a_description_are_caught(register):
    register("goodness", Scaled)
    with pytest.raises(AssertionError, match=r"options without a description: sign$"):
        run_check("goodness", "mine", "options are described")


def test_another_nouns_class_is_caught(register):
    register("goodness", Summed)
    with pytest.raises(AssertionError, match="Summed does not inherit from Goodness"):
        run_check("goodness", "mine", "target can be imported")


def test_a_missing_target_is_caught(register):
    register("goodness", "nowhere:Goodness")
    with pytest.raises(UserError, match="cannot be loaded from 'nowhere:Goodness'"):
        run_check("goodness", "mine", "target can be imported")


def test_a_component_without_a_summary_is_caught(register):
    register("goodness", SumSquares, summary=" ")
    with pytest.raises(AssertionError, match="has no summary"):
        run_check("goodness", "mine", "says what it is")


@pytest.mark.parametrize(
    ("hook", "parts", "words"),
    [
        ("from slow_plugin.parts import Sum", "import torch", "slow_plugin.hook imports torch"),
        ("from . import parts", "from torch import nn", "slow_plugin.hook imports torch"),
        ("import torch", "", "slow_plugin.hook imports torch"),
        ("from slow_plugin import parts", "def later():\n    import torch", None),
    ],
)
def test_a_plugin_that_imports_torch_is_noticed(tmp_path, monkeypatch, hook, parts, words):
    package = tmp_path / "slow_plugin"
    package.mkdir()
    for name, text in (("__init__", ""), ("hook", hook), ("parts", parts)):
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("slow", "slow_plugin.hook", "ffcore.plugins")
    monkeypatch.setattr(entries, "entry_points", lambda group: [point])
    entries._imports_torch.cache_clear()
    example = Example(Entry("goodness", "sum", "slow_plugin.parts:Sum", "slow", "a sum"))
    try:
        if words is None:
            entries.check_entry_plugin_imports_no_torch(example)
        else:
            with pytest.raises(AssertionError, match=words):
                entries.check_entry_plugin_imports_no_torch(example)
    finally:
        entries._imports_torch.cache_clear()
        for name in [name for name in sys.modules if name.startswith("slow_plugin")]:
            del sys.modules[name]
