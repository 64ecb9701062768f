"""Overrides: ``trainer.max_epochs=2``."""

from __future__ import annotations

from typing import Any

import yaml

from ffcore.errors import first_line
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.text import parse_value
from ffcore.recipe.tree import OVERRIDE, Path, Tree, dotted


def apply(tree: Tree, override: str) -> None:
    """Set one value in the tree.

    A kind that changes takes the old options with it, unless an override has set them.

    Args:
        tree: changed in place.
        override: ``path=value``: keys and list indices joined by dots, and YAML.

    Raises:
        RecipeError: it has no such form, or the path leads through something that has no parts.
    """
    said = f"{OVERRIDE}{override!r}"
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"{override!r} is not an override; write path=value, such as trainer.max_epochs=2")
    try:
        value = parse_value(text)
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{said}  broken YAML: {first_line(error)}") from error
    parent: Path = ()
    for key in keys[:-1]:
        parent = (*parent, _step(tree, parent, key, said, create=True))
    last = _step(tree, parent, keys[-1], said, create=False)
    node = tree.at(parent)
    if last == "kind" and "kind" in node and node["kind"] != value:
        tree.drop_options(parent, keep_overrides=True)
    path = (*parent, last)
    tree.put(path, value, {path: said})


def _step(tree: Tree, path: Path, key: str, said: str, *, create: bool) -> str | int:
    """The key or index below ``path``; a mapping is made there if it is missing and ``create``."""
    tree.unfold(path)
    node: Any = tree.at(path)
    if isinstance(node, list):
        if not key.isdecimal() or int(key) >= len(node):
            raise RecipeError(
                f"{said}  {dotted(path)} is a list of {len(node)}, and {key!r} is no index of it"
            )
        return int(key)
    if not isinstance(node, dict):
        raise RecipeError(f"{said}  {dotted(path)} is {node!r}, which has no {key!r} in it")
    if create and node.get(key) is None:
        tree.put((*path, key), {}, {(*path, key): said})
    return key
