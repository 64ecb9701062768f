from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError

from ffcore.recipe.spec import Kind, Spec


class Holder(BaseModel):
    label: Annotated[Spec, Kind("label")] = Field(default={"kind": "overlay"}, validate_default=True)
    maybe: Annotated[Spec, Kind("algorithm")] | None = None
    many: dict[str, list[Annotated[Spec, Kind("label")]]] = {}


pytestmark = pytest.mark.usefixtures("fake")


def problem(**values):
    with pytest.raises(ValidationError) as caught:
        Holder(**values)
    (one,) = caught.value.errors()
    return one["loc"], one["msg"]


@pytest.mark.parametrize("value", ["overlay", {"kind": "overlay"}, {"kind": "overlay", "scale": 1.0}])
def test_a_kind_alone_is_short_for_a_mapping(value):
    label = Holder(label=value).label
    assert (label.noun, label.kind, label.options.scale) == ("label", "overlay", 1.0)
    assert Holder(label=label).label is label
    assert Holder().label == label


def test_dumps_are_plain_data():
    assert Holder(maybe="forward-forward").model_dump()["maybe"] == {
        "kind": "forward-forward",
        "labels": {"kind": "overlay", "scale": 1.0},
        "negatives": None,
    }


def test_errors_keep_the_whole_path():
    maybe = {"kind": "forward-forward", "labels": {"kind": "overlay", "scale": "much"}}
    assert problem(maybe=maybe)[0] == ("maybe", "labels", "scale")
    assert problem(many={"a": ["overlay", {"kind": "overlay", "scal": 1}]})[0] == ("many", "a", 1, "scal")


def test_an_unknown_kind_has_the_path_of_the_kind():
    loc, text = problem(label="overlya")
    assert loc == ("label", "kind")
    assert text.startswith("'overlya' is not a label; did you mean 'overlay'?")


def test_a_missing_kind_lists_the_known_kinds():
    assert problem(label={"scale": 2}) == (("label", "kind"), "should say which label; known: overlay")


def test_values_other_than_components_raise():
    assert "should be a label" in problem(label=3)[1]
    assert "'overlay' is a label, not an algorithm" in problem(maybe=Holder().label)[1]


def test_the_kind_is_looked_up_when_a_value_is_validated(bare, tmp_path):
    from ffcore.plugin import manager

    manager.use(manager.Plugins())
    assert "is not a label" in problem(label="overlay")[1]
