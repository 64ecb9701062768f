"""Checks of a registration: target, options and source."""

import pytest

from ffcore.errors import UserError
from ffcore.interfaces import (
    Goodness,
    Objective,
)
from ffcore.plugin.signature import imported_signature
from ffcore.plugin.targets import load_target
from ffcore.testing import run_check


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
