"""Resolves an argument, an object or a kind, to a component."""

from __future__ import annotations

from typing import Any

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
        return value
    from ffcore.build.components import part as made  # imported here: objects alone need no plugin

    return made(noun, value, path or noun)
