"""Overrides: ``trainer.max_epochs=2``, and from Python values at paths."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import yaml

from ffcore.errors import first_line
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.objects import apart, as_data, is_object, is_record, record, records
from ffcore.recipe.text import parse_value
from ffcore.recipe.tree import FROM_PYTHON, OVERRIDE, Path, Tree, before, dotted


def apply(tree: Tree, override: str) -> None:
    """Set one value in the tree, as the command line says it.

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
    put(tree, keys, value, said)


def put(tree: Tree, keys: list[str], value: Any, said: str) -> None:
    """Set the value at a path; missing mappings around it are made.

    A kind that changes takes the old options with it, unless an override has set them.

    Args:
        tree: changed in place.
        keys: keys and list indices.
        value: data or an object.
        said: where the value comes from, for messages; it begins with `OVERRIDE`.

    Raises:
        RecipeError: the path leads through something that has no parts.
    """
    parent: Path = ()
    for key in keys[:-1]:
        parent = (*parent, _step(tree, parent, key, said, create=True))
    last = _step(tree, parent, keys[-1], said, create=False)
    node = tree.at(parent)
    if last == "kind" and not is_record(node) and "kind" in node and node["kind"] != value:
        tree.drop_options(parent, keep_overrides=True)
    tree.give((*parent, last), value, said)


def flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and their values from a nested mapping; lists and empty mappings are values."""
    for key, value in values.items():
        path = f"{above}{key}"
        if path == "network" and isinstance(value, Mapping) and "kind" in value:
            yield path, [as_data(value)]  # a network of a single item, in place of the recipe's list
        elif isinstance(value, Mapping) and value:
            # the kind first: changing it drops the old options, and only those
            yield from flat(dict(sorted(value.items(), key=lambda item: item[0] != "kind")), f"{path}.")
        else:
            yield path, as_data(value)


def apply_values(tree: Tree, values: Mapping[str, Any]) -> list[str]:
    """Set values from Python: nested mappings, or paths spelled out; their paths.

    Args:
        tree: changed in place.
        values: ``{"trainer": {"max_epochs": 2}, "network.0.units": 100}``.

    Raises:
        RecipeError: a path is empty or leads through something that has no parts.
    """
    paths = []
    for path, value in flat(values):
        keys = path.split(".")
        if not all(keys):
            raise RecipeError(f"{path!r} is not a path; write keys with dots between, trainer.max_epochs")
        put(tree, keys, value, FROM_PYTHON)
        paths.append(path)
    return paths


def give_again(tree: Tree, values: Mapping[str, Any]) -> None:
    """Put objects in the places where the tree has only their records.

    Values that the tree has already may be among them, so that a list of items can be given as it was.

    Args:
        tree: read from a run's ``config.yaml``; changed in place.
        values: as for `apply_values`.

    Raises:
        RecipeError: a value belongs to another place, and is not what the tree has there.
    """
    missing = {dotted(path) for path, _ in records(tree.data)}
    for path, value in _leaves(as_data(values)) if values else ():
        place = next((p for p in _places(path) if p in missing), None)
        if place is not None:
            put(tree, place.split("."), value, FROM_PYTHON)
        elif not any(_same(_there(tree.data, p.split(".")), value) for p in _places(path)):
            wanted = f"objects that are missing: {', '.join(sorted(missing))}" if missing else "no object"
            raise RecipeError(f"{path}: a run is read as it was written; it takes {wanted}")


def _leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and values of everything that has no parts."""
    if isinstance(data, dict | list) and data:
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, data


def _places(path: str) -> Collection[str]:
    """Where the record of an object is that was given at this path."""
    return path, path.removesuffix(".kind"), f"{path}.box"


def _there(data: Any, keys: list[str]) -> Any:
    """The value at a path; the ellipsis where there is none."""
    for key in keys:
        if isinstance(data, list):
            data = data[int(key)] if key.isdecimal() and int(key) < len(data) else ...
        else:
            data = data.get(key, ...) if isinstance(data, dict) else ...
    return data


def _same(there: Any, value: Any) -> bool:
    """Whether a value is recorded as what is there; ``kind`` alone stands for a mapping."""
    if not is_object(value):
        return bool(value == (there.get("kind", there) if isinstance(there, dict) else there))
    function, keywords = apart(value)
    said = {**record(function), **keywords}
    if not isinstance(there, dict):
        return bool(said["kind"] == there)
    return all(key in there and there[key] == item for key, item in said.items())


def _step(tree: Tree, path: Path, key: str, said: str, *, create: bool) -> str | int:
    """The key or index below ``path``; a mapping is made there if it is missing and ``create``."""
    tree.unfold(path)
    node: Any = tree.at(path)
    if isinstance(node, list):
        if not key.isdecimal() or int(key) >= len(node):
            raise RecipeError(
                f"{before(said)}{dotted(path)} is a list of {len(node)}, and {key!r} is no index of it"
            )
        return int(key)
    if not isinstance(node, dict):
        raise RecipeError(f"{before(said)}{dotted(path)} is {node!r}, which has no {key!r} in it")
    if create and node.get(key) is None:
        tree.put((*path, key), {}, {(*path, key): said})
    return key
