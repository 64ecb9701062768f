"""Option models made from signatures."""

import math
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Goodness, LabelCode
from ffcore.options import BelowOne, ByName, FunctionTarget, Part
from ffcore.plugin.registry import Entry
from ffcore.recipe.options import described, options_of, values_of


def options(target, noun="handoff"):
    return options_of(Entry(noun, "mine", target, "test"))


class Dense(nn.Module):
    """A dense layer.

    Args:
        units: how wide.
    """

    def __init__(self, in_shape: tuple[int, ...], units: int, bias: bool = True) -> None: ...


def test_arguments_become_fields_without_what_the_builder_supplies():
    model = options(Dense)
    assert list(model.model_fields) == ["units", "bias"]
    assert model(units="3").units == 3
    assert model.model_fields["units"].description == "how wide."
    assert options(Dense) is model


def test_unknown_keys_and_wrong_values_raise():
    model = options(Dense)
    with pytest.raises(ValidationError):
        model(units=3, unit=4)
    with pytest.raises(ValidationError):
        model(units="many")


class Numbers:
    def __init__(
        self,
        one: int | Literal["units"],
        two: Annotated[float, Field(gt=0)] | None = None,
        three: bool | int = 3,
        four: BelowOne = 0.5,
    ) -> None: ...


@pytest.mark.parametrize("wrong", [{"one": True}, {"one": 1, "two": True}, {"one": 1, "four": False}])
def test_true_is_not_a_number(wrong):
    with pytest.raises(ValidationError, match="should be a number"):
        options(Numbers)(**wrong)


@pytest.mark.parametrize("wrong", [{"two": math.inf}, {"two": math.nan}, {"two": 0}, {"four": 1}])
def test_numbers_are_finite_and_within_their_range(wrong):
    with pytest.raises(ValidationError):
        options(Numbers)(one=1, **wrong)


def test_ranges_are_in_the_json_schema():
    properties = options(Numbers).model_json_schema()["properties"]
    assert (properties["four"]["minimum"], properties["four"]["exclusiveMaximum"]) == (0, 1)
    from ffcore.recipe.schema import Recipe

    assert Recipe.model_json_schema()["properties"]["seed"]["minimum"] == 0


def test_true_is_accepted_for_bool():
    assert options(Numbers)(one=1, three=True).three is True


def test_contract_classes_become_nested_components(fake):
    class FF:
        def __init__(
            self,
            labels: LabelCode | ByName | None = "overlay",
            extra: LabelCode | None = None,
            many: list[Goodness] = [],  # noqa: B006
            inner: nn.Module | None = None,
            after: Annotated[nn.Module | None, Part("handoff")] = None,
            last: Annotated[nn.Module, Part("handoff")] | ByName = "rms",
        ) -> None: ...

    model = options(FF)
    assert (model().labels.kind, model().last.noun, model().last.kind) == ("overlay", "handoff", "rms")
    with pytest.raises(ValidationError, match="nope"):
        model(last="nope")
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


def test_options_that_only_python_can_give_are_left_out():
    class Mixed:
        def __init__(self, lr: float | Tensor = 0.1, start: Tensor | None = None) -> None: ...

    model = options(Mixed)
    assert list(model.model_fields) == ["lr"]
    assert model(lr=2).lr == 2.0


class Unlucky:
    """Names that pydantic has too."""

    def __init__(self, copy: int = 1, model_config: int = 2, _private: int = 3) -> None: ...


@pytest.mark.filterwarnings("error")
def test_any_name_may_be_an_option():
    model = options(Unlucky)
    assert list(described(model)) == ["copy", "model_config", "_private"]
    assert values_of(model(copy=5, _private=6)) == {"copy": 5, "_private": 6}
    with pytest.raises(ValidationError):
        model(option_copy=5)


class Mode(Enum):
    FAST = "fast"
    SLOW = "slow"


def test_defaults_that_no_recipe_can_hold_leave_their_option_out():
    class Odd:
        def __init__(
            self,
            a: float = None,  # noqa: RUF013 (as others write it)
            b: float = math.inf,
            c: Any = print,
            d: int = 0.5,
            e: Mode = Mode.FAST,
            f: LabelCode | None = None,
            g=None,
        ) -> None: ...

    model = options(Odd)
    assert list(described(model)) == ["a", "e", "f"]
    assert model(a=None).a is None
    assert values_of(model(e="slow")) == {"e": Mode.SLOW}
    assert model.model_validate(model().model_dump(mode="json")) is not None


def test_the_constructor_supplies_what_a_recipe_does_not_write():
    assert values_of(options(Numbers)(one=3)) == {"one": 3}


def test_a_module_that_a_recipe_names_is_not_imported_before_the_run(tmp_path, monkeypatch):
    (tmp_path / "named_by_recipe.py").write_text("raise SystemExit(3)\nX = len\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = Entry("goodness", "named_by_recipe:X", "named_by_recipe:X", "")
    assert options_of(entry)(anything=1).model_extra == {"anything": 1}
    with pytest.raises(UserError, match="'named_by_recipe:X' cannot be imported: SystemExit: 3"):
        entry.load()


def test_a_mark_names_a_noun():
    class Marked:
        def __init__(self, after: Annotated[nn.Module, Part("hanoff")]) -> None: ...

    with pytest.raises(UserError, match="no such sort of component; did you mean 'handoff'"):
        options(Marked)


def test_a_required_type_that_yaml_does_not_have_raises():
    class Bad:
        def __init__(self, thing: Tensor) -> None: ...

    with pytest.raises(UserError, match="argument 'thing' of Bad is of a type that no recipe can write"):
        options(Bad)


def test_functions_are_written_by_their_target():
    class Calls:
        def __init__(self, target: Annotated[Any, FunctionTarget()]) -> None: ...

    assert options(Calls)(target="math:sqrt").target == "math:sqrt"
    with pytest.raises(ValidationError, match="module:function"):
        options(Calls)(target=3)


def test_an_option_cannot_have_a_reserved_name():
    class Body:
        def __init__(self, repeat: int) -> None: ...

    with pytest.raises(UserError, match=r"body 'mine' of plugin 'test': option 'repeat' of Body"):
        options(Body, "body")


def test_a_component_may_be_named_by_its_target():
    from ffcore.recipe.spec import Kind

    spec = Kind("goodness").validate("ffcore_ff.goodness:SumSquares")
    assert spec.dump() == {"kind": "ffcore_ff.goodness:SumSquares"}
    spec = Kind("objective").validate({"kind": "ffcore_ff.objectives:Logistic", "threshold": 2})
    assert spec.options.threshold == 2.0
