"""The door to the heavy part: whatever builds a recipe imports torch."""

from __future__ import annotations

from typing import Any

from ffcore.plugin.targets import load_target
from ffcore.recipe.schema import Recipe


def describe(recipe: Recipe) -> Any:
    """Build a recipe and describe it, as something that rich prints.

    Raises:
        UserError: it cannot be built.
    """
    return load_target("ffcore.build.describe:describe")(recipe)
