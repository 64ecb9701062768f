"""Calls ``ffcore.build.describe`` by name, so that verbs import torch only when they build a recipe."""

from __future__ import annotations

from typing import Any

from ffcore.plugin.targets import load_target
from ffcore.recipe.schema import Recipe


def describe(recipe: Recipe) -> Any:
    """Build a recipe and return a description for rich to print.

    Raises:
        UserError: it cannot be built.
    """
    # an ordinary import of ffcore.build would import torch, which most verbs do not need
    return load_target("ffcore.build.describe:describe")(recipe)
