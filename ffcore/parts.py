"""From what a user writes, an object or a kind, to the object."""

from __future__ import annotations

from typing import Any

from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.targets import load_target

__all__ = ["part"]


def part(noun: str, value: Any, path: str | None = None) -> Any:
    """The component that a value stands for.

    Args:
        noun: what sort of component, such as "goodness".
        value: the component itself, its kind ("sum-squares"), or a mapping ``{"kind": kind, **options}``.
        path: what messages call it; the noun if None.

    Returns:
        An object as it is; a kind is looked up among the installed plugins and constructed.

    Raises:
        UserError: when there is no such kind, its options are wrong, or the object is no such component.
    """
    if isinstance(value, load_target(NOUNS[noun].base)):
        return value
    from ffcore.build.components import part as made  # imported here: objects alone need no plugin

    return made(noun, value, path or noun)
