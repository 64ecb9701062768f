"""Calls ``ffcore.build.describe`` by name, so that verbs import torch only when they build a recipe."""

from __future__ import annotations

from typing import Any

from ffcore.plugin.targets import load_target
from ffcore.recipe.schema import Recipe


def described(recipe: Recipe) -> tuple[Any, dict[str, Any]]:
    """Build a recipe; return what `describe` returns, and the cost sheet as a mapping.

    Raises:
        UserError: it cannot be built.
    """
    made: tuple[Any, dict[str, Any]] = load_target("ffcore.build.describe:described")(recipe)
    return made


def describe(recipe: Recipe) -> Any:
    """Build a recipe and return a description for rich to print.

    Raises:
        UserError: it cannot be built.
    """
    # an ordinary import of ffcore.build would import torch, which most verbs do not need
    return load_target("ffcore.build.describe:describe")(recipe)
