"""Components that a recipe names by ``module:Class``."""

import pytest

from ffcore.build.components import make
from ffcore.errors import UserError
from ffcore.recipe.spec import Kind
from ffcore_ff.objectives import Logistic


def made(noun, given):
    return make(Kind(noun).validate(given), "here")


def test_a_class_is_constructed_with_its_options():
    objective = made("objective", {"kind": "ffcore_ff.objectives:Logistic", "threshold": 3.0})
    assert type(objective) is Logistic
    assert (objective.threshold, objective.temperature) == (3.0, 1.0)


@pytest.mark.parametrize(
    ("noun", "target", "message"),
    [
        ("goodness", "ffcore_ff.objectives:Logistic", "is not a goodness, a subclass of ffcore.interfaces"),
        ("handoff", "math:sqrt", "is not a handoff"),
        ("goodness", "ffcore_ff.goodness:Missing", "here: 'ffcore_ff.goodness:Missing' cannot be imported"),
        ("goodness", "no_such_module:X", "PYTHONPATH=. adds this folder"),
    ],
)
def test_what_is_not_such_a_component_raises(noun, target, message):
    with pytest.raises(UserError, match=message):
        made(noun, target)


def test_a_layer_of_torch_is_a_handoff_with_the_options_that_a_recipe_can_write():
    layer = made("handoff", {"kind": "torch.nn:LayerNorm", "normalized_shape": 5, "eps": 1e-3})
    assert (layer.normalized_shape, layer.eps) == ((5,), 1e-3)


BROKEN = """
import torch
from ffcore.interfaces import Goodness

class Unready(Goodness):
    def __init__(self, scale: float = 1.0) -> None:
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, activity):
        return activity.flatten(1).sum(1)

class Missing(Unready):
    def __init__(self, name: str = "a") -> None:
        {}[name]
"""


@pytest.mark.parametrize(
    ("name", "error", "line"), [("Unready", "AttributeError", 7), ("Missing", "KeyError: 'a'", 14)]
)
def test_an_error_in_a_constructor_has_the_authors_file_and_line(name, error, line, tmp_path, monkeypatch):
    (tmp_path / "broken_parts.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    message = rf"^here: broken_parts:{name} cannot be constructed: {error}.*broken_parts\.py:{line}\)$"
    with pytest.raises(UserError, match=message):
        made("goodness", f"broken_parts:{name}")
