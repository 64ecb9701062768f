"""The head of an algorithm: a block after those of the recipe, which the algorithm defines."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from ffcore.blame import title
from ffcore.errors import UserError
from ffcore.interfaces import Algorithm
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.network import NetworkItem
from ffcore.recipe.objects import as_kind
from ffcore.recipe.tree import Tree

ITEM: TypeAdapter[NetworkItem] = TypeAdapter(NetworkItem)


def head_item(algorithm: Algorithm, classes: int) -> NetworkItem:
    """Return the item of the network for an algorithm's head, with the number of classes.

    Raises:
        UserError: its kind is unknown, or does not take its options.
    """
    head = as_kind(algorithm.head)
    try:
        return ITEM.validate_python({k: classes if v == "classes" else v for k, v in head.items()})
    except ValidationError as error:
        where = f"algorithm: the head of {title(algorithm)}"
        raise UserError(str(RecipeError.from_validation(error, Tree({}, {(): where})))) from error
