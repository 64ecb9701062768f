"""What is registered has to agree with itself."""

import pytest

from ffcore.errors import UserError
from ffcore.interfaces import (
    Goodness,
    Objective,
)
from ffcore.plugin import Options
from ffcore.testing import run_check


class SumSquares(Goodness):
    """Right in every way."""

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


class Right(Options):
    scale: int = 1
    sign: int = 1


class MissesOne(Options):
    scale: float = 1.0


class OtherDefault(Options):
    scale: float = 2.0
    sign: int = 1


class OtherType(Options):
    scale: float | str = 1.0
    sign: int = 1


class Needs(Options):
    scale: float
    sign: int = 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MissesOne, r"config has options \['scale'\], the constructor \['scale', 'sign'\]"),
        (OtherDefault, r"scale: default 2\.0, in the constructor 1\.0"),
        (OtherType, "is not what the constructor takes"),
        (Needs, "scale: default PydanticUndefined, in the constructor 1.0"),
    ],
)
def test_a_config_that_disagrees_with_the_constructor_is_caught(register, config, message):
    register("goodness", Scaled, config)
    with pytest.raises(AssertionError, match=message):
        run_check("goodness", "mine", "config agrees with the constructor", {})


def test_a_config_may_be_narrower_than_the_constructor(register):
    register("goodness", Scaled, Right)
    run_check("goodness", "mine", "config agrees with the constructor")


def test_options_without_a_description_are_caught(register):
    register("goodness", Scaled)
    with pytest.raises(AssertionError, match=r"options without a description: sign$"):
        run_check("goodness", "mine", "options are described")


def test_another_nouns_class_is_caught(register):
    register("goodness", Summed)
    with pytest.raises(AssertionError, match="Summed does not inherit from Goodness"):
        run_check("goodness", "mine", "target can be imported")


def test_a_target_that_is_not_there_is_caught(register):
    register("goodness", "nowhere:Goodness", Right)
    with pytest.raises(UserError, match="cannot be loaded from 'nowhere:Goodness'"):
        run_check("goodness", "mine", "target can be imported")


def test_a_component_without_a_summary_is_caught(register):
    register("goodness", SumSquares, summary=" ")
    with pytest.raises(AssertionError, match="has no summary"):
        run_check("goodness", "mine", "says what it is")
