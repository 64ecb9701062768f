"""Cases that stand for others."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from ffcore.recipe.load import names


def thorough_but(kept: Collection[str], cases: Mapping[str, Any] | Collection[str]) -> list[Any]:
    """Return parameters of a test with their names; CI runs those that are kept.

    A case that is a tuple has the values of several arguments; names without values are the values.
    """
    named = cases if isinstance(cases, Mapping) else {name: name for name in cases}
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            id=name,
            marks=[] if name in kept else [pytest.mark.thorough],
        )
        for name, case in named.items()
    ]


def of_each_name() -> list[str]:
    """Return one recipe of each name, such as digits/ff for mnist/ff, which differs in data and sizes."""
    chosen: dict[str, str] = {}
    for recipe in sorted(names(), key=lambda each: not each.startswith("digits/")):
        chosen.setdefault(recipe.partition("/")[2], recipe)
    return sorted(chosen.values())
