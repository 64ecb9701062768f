"""A component is tried inside the network, algorithm and views of a recipe."""

from typing import ClassVar

import pytest

from ffcore.errors import UserError
from ffcore.interfaces import LayerRule
from ffcore.testing import cases
from ffcore_pepita.algorithm import Pepita

RECIPE = """
name: mine
seed: 1
data: {kind: digits, batch_size: 25}
algorithm: {kind: mine}
network:
  - {kind: dense, units: 30}
block: {handoff: null}
optimizer: {kind: sgd, lr: 0.1}
trainer: {max_epochs: 3}
"""


class TwoPasses(Pepita):
    """The algorithm of PEPITA with the rule `mine`."""

    block: ClassVar = {"goodness": None, "objective": None, "rule": "mine"}


class FromTwoPasses(LayerRule):
    """PEPITA's rule without what the kit's own network needs."""

    def learn(self, window, views):
        """See the base class."""
        layer, read = self.noted(window, views)
        ((block, _, out),) = window
        first = views.extra["first/" + block.name]
        layer.weight.grad = (first - out.activity).T @ read.flatten(1) / len(read)
        return [{"difference": (first - out.activity).square().mean()}]


class Idle(FromTwoPasses):
    """Leaves no gradients."""

    def learn(self, window, views):
        """See the base class."""
        made = super().learn(window, views)
        window[0][0].body.linear.weight.grad = None
        return made


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    return str(path)


def of_scene(file):
    found = cases(scenes={("rule", "mine"): file})
    return [case for case in found if case.scene is not None]


def test_a_rule_that_needs_its_algorithm_is_tried_in_it(register, file):
    register("algorithm", TwoPasses)
    register("rule", FromTwoPasses)
    found = of_scene(file)
    assert len(found) == 6
    assert str(found[0]).startswith(f"rule mine in {file}: ")
    for case in found:
        case.run()


def test_a_broken_rule_is_caught_there(register, file):
    register("algorithm", TwoPasses)
    register("rule", Idle)
    (case,) = (case for case in of_scene(file) if case.check == "lets every block learn")
    with pytest.raises(
        AssertionError, match=r"(?s)dense1 has not learned.*checked: After batches at the begin"
    ):
        case.run()


def test_a_recipe_without_the_component_is_caught(register):
    register("rule", FromTwoPasses)
    (case,) = (case for case in of_scene("digits/ff") if case.check == "has the component")
    with pytest.raises(AssertionError, match="the network of the recipe digits/ff does not have it"):
        case.run()


@pytest.mark.parametrize(
    ("noun", "name", "recipe"),
    [
        ("algorithm", "channel-class", "digits/channel"),
        ("blackbox", "quantise", "digits/blackbox-quantise"),
        ("schedule", "greedy", "digits/ff-greedy"),
        ("goodness", "linear-head", "digits/mono-forward"),
    ],
)
def test_shipped_components_pass_in_their_recipes(noun, name, recipe):
    for case in cases(scenes={(noun, name): recipe}):
        if case.scene is not None:
            case.run()


def test_a_scene_of_an_unknown_component_is_refused():
    with pytest.raises(UserError, match=r"scenes: .* is not"):
        cases(scenes={("rule", "no-such"): "digits/ff"})
