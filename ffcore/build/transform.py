"""The `data.transform` of a recipe."""

from __future__ import annotations

from typing import Any

from ffcore.build.objects import own
from ffcore.data.images import ImageSet
from ffcore.data.transform import Transform, transformed
from ffcore.errors import UserError
from ffcore.recipe.objects import Named
from ffcore.recipe.schema import Recipe


def transform_of(recipe: Recipe) -> Transform | None:
    """Return the function of a recipe that changes all samples; None without one.

    Raises:
        UserError: it cannot be imported, or is not a function.
    """
    given = recipe.data.transform
    if given is None:
        return None
    function: Any = own(Named(given) if isinstance(given, str) else given, "data.transform")
    if not callable(function):
        raise UserError(f"data.transform: {given!r} should be a function of a batch of samples")
    transform: Transform = function
    return transform


def as_in(recipe: Recipe, images: ImageSet) -> ImageSet:
    """Return a data set with samples as a recipe changes them."""
    function = transform_of(recipe)
    return images if function is None else transformed(images, function)
