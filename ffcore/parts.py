"""Resolves an argument, an object or a kind, to a component."""

from __future__ import annotations

from typing import Any

from torch import nn

from ffcore.blame import written_at
from ffcore.errors import UserError
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.targets import load_target

__all__ = ["part", "path_of"]


def part(noun: str, value: Any, path: str | None = None, in_shape: tuple[int, ...] | None = None) -> Any:
    """Return the component that a value names.

    Args:
        noun: the type of component, such as "goodness".
        value: the component itself, its kind ("sum-squares"), or a mapping ``{"kind": kind, **options}``.
        path: the name of the argument in messages; the noun if None.
        in_shape: shape of one input sample, for a kind whose constructor has this argument.

    Returns:
        An object is returned unchanged. A kind is looked up among the installed plugins and constructed.

    Raises:
        UserError: when the kind is unknown, its options are wrong, or the object is not such a component.
    """
    if isinstance(value, load_target(NOUNS[noun].base)):
        refuse_bare(value, path or noun)
        return value
    from ffcore.build.components import part as made  # imported here: objects alone need no plugin

    return made(noun, value, path or noun, in_shape)


def path_of(component: Any, default: str) -> str:
    """Return a component's path in the recipe, such as ``block.goodness``.

    Args:
        component: the component.
        default: the result for a component that was not made from a recipe.
    """
    from ffcore.blame import place_of  # imported here, as above

    place = place_of(component)
    return default if place is None else place.path


def refuse_bare(component: Any, path: str) -> None:
    """Raise if a module's constructor does not call that of its base class: torch fails at its first use.

    Raises:
        UserError: with the class and its file.
    """
    made = type(component)
    if hasattr(made, "named_modules") and "_modules" not in vars(component):
        place = written_at(made.__init__)
        raise UserError(f"{path}: the constructor of {made.__name__} does not call super().__init__(){place}")


def refuse_uncallable(module: nn.Module, path: str) -> None:
    """Raise if a module has no forward, such as a ModuleList, or is a Sequential without layers.

    Raises:
        UserError: with the class and its file.
    """
    made = type(module)
    if (
        made.forward is nn.Module.forward
        and made.__call__ is nn.Module.__call__
        and "forward" not in vars(module)
    ):
        raise UserError(f"{path}: {made.__name__} defines no forward{written_at(made.__init__)}")
    if isinstance(module, nn.Sequential) and not len(module):
        raise UserError(f"{path}: {made.__name__} is empty; add a layer, or use nn.Identity")
