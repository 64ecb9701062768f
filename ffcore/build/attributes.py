"""Checks the class attributes of an algorithm: its head, its entries of ``block`` and its schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ffcore.blame import title
from ffcore.errors import UserError
from ffcore.interfaces import Algorithm, Task
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.network import BlockConfig, NetworkItem
from ffcore.recipe.objects import as_kind
from ffcore.recipe.spec import Kind, Spec
from ffcore.recipe.tree import Tree

T = TypeVar("T")

ITEM: TypeAdapter[NetworkItem] = TypeAdapter(NetworkItem)


def head_item(algorithm: Algorithm, task: Task) -> NetworkItem | None:
    """Return the item of the network for an algorithm's head, with the number of classes; None without one.

    Raises:
        UserError: its kind is unknown, or does not take its options.
    """
    given = algorithm.head_for(task)
    if given is None:
        return None

    def item() -> NetworkItem:
        head = dict(as_kind(given))
        return ITEM.validate_python({k: task.columns if v == "classes" else v for k, v in head.items()})

    return _validated(algorithm, "head", given, item)


def imposed_block(algorithm: Algorithm) -> BlockConfig:
    """Return the entries of an algorithm that replace those of the recipe's ``block``.

    Raises:
        UserError: a key is unknown, or its value is not valid.
    """
    return _validated(
        algorithm, "block", algorithm.block, lambda: BlockConfig.model_validate(dict(algorithm.block))
    )


def own_schedule(algorithm: Algorithm) -> Spec:
    """Return the schedule of an algorithm, for a recipe without one.

    Raises:
        UserError: its kind is unknown, or does not take its options.
    """
    given = algorithm.schedule
    return _validated(algorithm, "schedule", given, lambda: Kind("schedule").validate(given))


def _validated(algorithm: Algorithm, name: str, value: Any, validate: Callable[[], T]) -> T:
    where = f"algorithm: the {name} of {title(algorithm)}"
    try:
        return validate()
    except ValidationError as error:
        raise UserError(str(RecipeError.from_validation(error, Tree({}, {(): where})))) from error
    except (TypeError, ValueError) as error:  # not a mapping
        raise UserError(f"{where}: {value!r} cannot be read; it should be as in a recipe") from error
