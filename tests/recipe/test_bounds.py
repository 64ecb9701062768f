"""Every number of a recipe has a smallest and a largest value."""

from collections.abc import Iterator
from typing import Any

import pytest

from ffcore.errors import UserError
from ffcore.recipe.json_schema import recipe_schema
from ffcore.recipe.load import load

_LEAST, _MOST = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}


def unbounded(schema: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of the numbers without bounds."""
    if isinstance(schema, dict):
        bounds = _LEAST & schema.keys() and _MOST & schema.keys()
        if (
            schema.get("type") in ("integer", "number")
            and not bounds
            and not {"const", "enum"} & schema.keys()
        ):
            yield path
        for key, value in schema.items():
            yield from unbounded(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for i, value in enumerate(schema):
            yield from unbounded(value, f"{path}/{i}")


def test_numbers_of_recipes_have_bounds():
    # data.validation is a number of samples or a share: a validator of its own checks it; see below
    assert [path for path in unbounded(recipe_schema()) if "/properties/validation/" not in path] == []


@pytest.mark.parametrize("value", ["-1", "-0.1", "1.5", "1e30", "1e400", ".nan"])
def test_a_validation_split_has_bounds(value):
    with pytest.raises(UserError, match=r"data\.validation"):
        load("digits/ff", [f"data.validation={value}"])


def test_a_number_without_bounds_is_found():
    assert list(unbounded({"a": {"type": "number"}, "b": [{"type": "integer", "minimum": 0}]})) == [
        "/a",
        "/b/0",
    ]
