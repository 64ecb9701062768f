"""Accelerators and strategies are open lists."""

import pytest
import torch
from lightning.pytorch.accelerators import CPUAccelerator

from ffcore.errors import UserError
from ffcore.plugin import manager
from ffcore.ranks.device import accelerator
from ffcore.ranks.join import kind
from ffcore.ranks.local import LocalDDP
from ffcore.ranks.pipeline import PipelineStrategy
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.load import load


class Elsewhere(CPUAccelerator):
    """A CPU under another name."""


class Nowhere(CPUAccelerator):
    """A device that no machine has."""

    @staticmethod
    def is_available():
        return False


class MyStrategy(LocalDDP):
    """A strategy of a plugin's."""


@pytest.fixture
def registered():
    manager.use(manager.Plugins.load())
    manager.register("accelerator", "elsewhere", Elsewhere)
    manager.register("accelerator", "nowhere", Nowhere)
    manager.register("accelerator", "wrong", LocalDDP)
    manager.register("strategy", "mine", MyStrategy)
    manager.register("strategy", "wrong", CPUAccelerator)
    yield
    manager.use(None)


def recipe(**trainer):
    return load("digits/ff", [f"trainer.{key}={value}" for key, value in trainer.items()])


@pytest.mark.usefixtures("registered")
def test_an_accelerator_is_found_by_name_or_target():
    assert accelerator(recipe(accelerator="cpu")) == "cpu"
    assert accelerator(recipe(accelerator="auto")) == ("gpu" if torch.cuda.is_available() else "cpu")
    assert type(accelerator(recipe(accelerator="elsewhere"))) is Elsewhere
    target = "lightning.pytorch.accelerators:CPUAccelerator"
    assert type(accelerator(recipe(accelerator=target))) is CPUAccelerator


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"accelerator": "nowhere"}, "'nowhere': this machine has none"),
        ({"accelerator": "wrong"}, "not a lightning.pytorch.accelerators.Accelerator"),
        ({"accelerator": "elsewhere", "devices": 2}, "several devices work with 'cpu' and 'gpu' only"),
    ],
)
def test_an_accelerator_that_cannot_be_used_is_refused(trainer, message):
    with pytest.raises(UserError, match=message):
        accelerator(recipe(**trainer))


@pytest.mark.usefixtures("registered")
def test_a_strategy_is_found_by_name_and_has_to_be_of_the_right_class():
    names = {"auto": LocalDDP, "ff_local": LocalDDP, "ff_pipeline": PipelineStrategy, "mine": MyStrategy}
    assert {name: kind(recipe(strategy=name)) for name in names} == names
    with pytest.raises(UserError, match=r"not a subclass of ffcore\.ranks\.local\.LocalDDP"):
        kind(recipe(strategy="wrong"))


@pytest.mark.parametrize("entry", ["accelerator", "strategy"])
def test_an_unknown_name_is_refused_when_the_recipe_is_read(entry):
    with pytest.raises(RecipeError, match=f"trainer.{entry}: .*not .* {entry}"):
        recipe(**{entry: "cpuu"})
