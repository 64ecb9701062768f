"""Resolves an argument, an object or a kind, to a component."""

from __future__ import annotations

from typing import Any

from ffcore.blame import written_at
from ffcore.errors import UserError
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.targets import load_target

__all__ = ["part"]


def part(noun: str, value: Any, path: str | None = None) -> Any:
    """Return the component that a value names.

    Args:
        noun: the type of component, such as "goodness".
        value: the component itself, its kind ("sum-squares"), or a mapping ``{"kind": kind, **options}``.
        path: the name of the argument in messages; the noun if None.

    Returns:
        An object is returned unchanged. A kind is looked up among the installed plugins and constructed.

    Raises:
        UserError: when the kind is unknown, its options are wrong, or the object is not such a component.
    """
    if isinstance(value, load_target(NOUNS[noun].base)):
        refuse_bare(value, path or noun)
        return value
    from ffcore.build.components import part as made  # imported here: objects alone need no plugin

    return made(noun, value, path or noun)


def refuse_bare(component: Any, path: str) -> None:
    """Raise if a module's constructor does not call that of its base class: torch fails at its first use.

    Raises:
        UserError: with the class and its file.
    """
    made = type(component)
    if hasattr(made, "named_modules") and "_modules" not in vars(component):
        place = written_at(made.__init__)
        raise UserError(f"{path}: the constructor of {made.__name__} does not call super().__init__(){place}")
