import math
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError
from torch import nn

from ffcore.errors import UserError
from ffcore.interfaces import Goodness, LabelCode
from ffcore.plugin.options import Options
from ffcore.plugin.signature import config_from_signature
from ffcore.recipe.spec import Kind


class Dense(nn.Module):
    """A dense layer.

    Args:
        units: how wide,
            in units.
        bias (bool): whether
            there is one.

    Raises:
        ValueError: never.
    """

    def __init__(self, in_shape: tuple[int, ...], units: int, bias: bool = True) -> None: ...


def test_arguments_become_fields_without_what_the_builder_supplies():
    model = config_from_signature(Dense)
    assert list(model.model_fields) == ["units", "bias"]
    assert model(units="3").units == 3
    assert model.model_fields["units"].description == "how wide, in units."
    assert model.model_fields["bias"].description == "whether there is one."


def test_unknown_keys_and_wrong_values_are_refused():
    model = config_from_signature(Dense)
    with pytest.raises(ValidationError):
        model(units=3, unit=4)
    with pytest.raises(ValidationError):
        model(units="many")


class Numbers(Options):
    one: int | Literal["units"]
    two: Annotated[float, Field(gt=0)] | None = None
    three: bool | int = 3


@pytest.mark.parametrize("wrong", [{"one": True}, {"one": 1, "two": True}])
def test_true_is_no_number(wrong):
    with pytest.raises(ValidationError, match="should be a number"):
        Numbers(**wrong)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_numbers_are_finite(value):
    with pytest.raises(ValidationError, match="finite"):
        Numbers(one=1, two=value)


def test_true_is_true_where_that_is_asked_for():
    assert Numbers(one=1, three=True).three is True


def test_the_model_is_made_once():
    assert config_from_signature(Dense) is config_from_signature(Dense)


def test_a_class_without_a_constructor_has_no_options():
    class Plain(nn.Module):
        pass

    assert not config_from_signature(Plain).model_fields


def test_contract_classes_become_nested_components(fake):
    class FF:
        def __init__(
            self,
            labels: LabelCode,
            extra: LabelCode | None = None,
            many: list[Goodness] = [],  # noqa: B006
            inner: nn.Module | None = None,
            after: Annotated[nn.Module | None, Kind("handoff")] = None,
        ) -> None: ...

    model = config_from_signature(FF)
    made = model(
        labels={"kind": "overlay", "scale": 2},
        many=["sum-squares"],
        inner={"kind": "dense", "units": 2},
        after="rms",
    )
    assert (made.labels.noun, made.labels.options.scale) == ("label", 2.0)
    assert [one.noun for one in (*made.many, made.inner, made.after)] == ["goodness", "body", "handoff"]
    with pytest.raises(ValidationError, match=r"labels\.scal"):
        model(labels={"kind": "overlay", "scal": 2})


def test_an_argument_without_a_type_is_refused():
    class Bad:
        def __init__(self, units) -> None: ...

    with pytest.raises(UserError, match="argument 'units' of Bad has no type"):
        config_from_signature(Bad)


def test_a_type_that_yaml_cannot_fill_is_refused():
    class Bad:
        def __init__(self, thing: object.__class__ | Dense) -> None: ...

    with pytest.raises(UserError, match="arguments of Bad do not fit into a recipe"):
        config_from_signature(Bad)


def test_annotations_that_exist_for_type_checkers_only_are_refused():
    class Bad:
        def __init__(self, thing: "OnlyForCheckers") -> None: ...  # noqa: F821

    with pytest.raises(UserError, match="annotations of Bad cannot be read"):
        config_from_signature(Bad)
