"""Overrides of a recipe: ``trainer.max_epochs=2``, or values from Python."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ffcore.errors import shortened
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.objects import apart, as_data, is_object, is_record, record, records
from ffcore.recipe.text import DEEPEST, parse_value
from ffcore.recipe.tree import FROM_PYTHON, OVERRIDE, Path, Tree, before, dotted


def apply(tree: Tree, override: str) -> None:
    """Set one value in the tree by an override of the command line.

    Args:
        tree: changed in place.
        override: ``path=value``: keys and list indices joined by dots, and YAML.

    Raises:
        RecipeError: the override is not of this form, or the path leads through a value without parts.
    """
    origin = f"{OVERRIDE}{shortened(override, 100)}"
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        given = shortened(override, 100)
        raise RecipeError(f"{given} is not an override; write path=value, such as trainer.max_epochs=2")
    put(tree, keys, parse_value(text, origin), origin)


def refuse_lost(paths: Sequence[str]) -> None:
    """Raise if a later override replaces a value, or a part with a value, that an earlier one has set.

    >>> refuse_lost(["optimizer", "optimizer.lr", "optimizer.kind"])

    Raises:
        RecipeError: naming both.
    """
    for later, path in enumerate(paths):
        if path in paths[:later]:
            raise RecipeError(f"{path}: two overrides set it; leave one of them out")
        lost = next((one for one in paths[:later] if one.startswith(f"{path}.")), None)
        if lost is not None:
            raise RecipeError(f"{lost} is lost, since a later override replaces {path}; give {path} first")


def put(tree: Tree, keys: list[str], value: Any, origin: str) -> None:
    """Set the value at a path, and make missing mappings around it.

    If the kind of a component changes, its old options are removed, except those set by an override.

    Args:
        tree: changed in place.
        keys: keys and list indices.
        value: data or an object.
        origin: origin of the value, for messages; it begins with `OVERRIDE`.

    Raises:
        RecipeError: the path leads through a value without parts.
    """
    if len(keys) > DEEPEST:
        raise RecipeError(f"{before(origin)}a path of {len(keys)} keys; no recipe is nested so deeply")
    parent: Path = ()
    for key in keys[:-1]:
        parent = (*parent, _step(tree, parent, key, origin, create=True))
    last = _step(tree, parent, keys[-1], origin, create=False)
    node = tree.at(parent)
    # A record of an object is replaced as a whole; its kind is not that of a component.
    if last == "kind" and not is_record(node) and "kind" in node and node["kind"] != value:
        tree.drop_options(parent, keep_overrides=True)
    tree.give((*parent, last), value, origin)


def flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield paths and values of a nested mapping; lists and empty mappings are values."""
    for key, value in values.items():
        path = f"{above}{key}"
        if path == "network" and isinstance(value, Mapping) and "kind" in value:
            yield path, [as_data(value)]  # a network of one item replaces the whole list
        elif isinstance(value, Mapping) and value:
            # the kind first: its change removes the old options, but must not remove the new ones
            yield from flat(dict(sorted(value.items(), key=lambda item: item[0] != "kind")), f"{path}.")
        else:
            yield path, as_data(value)


def apply_values(tree: Tree, values: Mapping[str, Any]) -> list[str]:
    """Set values from Python, given as nested mappings or by path. Returns their paths.

    Args:
        tree: changed in place.
        values: ``{"trainer": {"max_epochs": 2}, "network.0.units": 100}``.

    Raises:
        RecipeError: a path is empty or leads through a value without parts.
    """
    paths = []
    for path, value in flat(values):
        keys = path.split(".")
        if not all(keys):
            raise RecipeError(
                f"{path!r} is not a path; write keys joined by dots, such as trainer.max_epochs"
            )
        put(tree, keys, value, FROM_PYTHON)
        paths.append(path)
    return paths


def give_again(tree: Tree, values: Mapping[str, Any]) -> None:
    """Replace the records of objects in the tree by the objects.

    Values that are equal to those of the tree are allowed, so that a complete list of items can be given.

    Args:
        tree: read from a run's ``config.yaml``; changed in place.
        values: as for `apply_values`.

    Raises:
        RecipeError: the tree has no record at the path of a value, and another value there.
    """
    missing = {dotted(path) for path, _ in records(tree.data)}
    for path, value in _leaves(as_data(values)) if values else ():
        place = next((p for p in _places(path) if p in missing), None)
        if place is not None:
            put(tree, place.split("."), value, FROM_PYTHON)
        elif not any(_same(_value_at(tree.data, p.split(".")), value) for p in _places(path)):
            hint = (
                f"give only the missing objects: {', '.join(sorted(missing))}"
                if missing
                else "it lacks no object"
            )
            raise RecipeError(f"{path}: the recipe of a run cannot be changed; {hint}")


def _leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield paths and values of everything without parts."""
    if isinstance(data, dict | list) and data:
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, data


def _places(path: str) -> Collection[str]:
    """Returns the paths at which the record of an object given at this path may be."""
    return path, path.removesuffix(".kind"), f"{path}.box"


def _value_at(data: Any, keys: list[str]) -> Any:
    """Returns the value at a path; the ellipsis if the path does not exist (None is a value)."""
    for key in keys:
        if isinstance(data, list):
            index = _index(key, data)
            data = data[index] if index is not None else ...
        else:
            data = data.get(key, ...) if isinstance(data, dict) else ...
    return data


def _index(key: str, items: list[Any]) -> int | None:
    """Returns a key as an index of a list; None if it is not one."""
    # int() raises for more than 4300 digits
    return int(key) if key.isdecimal() and len(key) < 10 and int(key) < len(items) else None


def _same(recorded: Any, value: Any) -> bool:
    """Whether a value has this record; the kind alone may stand for a mapping."""
    if not is_object(value):
        return bool(value == (recorded.get("kind", recorded) if isinstance(recorded, dict) else recorded))
    function, keywords = apart(value)
    expected = {**record(function), **keywords}
    if not isinstance(recorded, dict):
        return bool(expected["kind"] == recorded)
    return all(key in recorded and recorded[key] == item for key, item in expected.items())


def _step(tree: Tree, path: Path, key: str, origin: str, *, create: bool) -> str | int:
    """Returns the key or index below ``path``. With ``create`` a missing mapping is made there."""
    tree.unfold(path)
    node: Any = tree.at(path)
    if isinstance(node, list):
        if _index(key, node) is None:
            items = f"{before(origin)}{dotted(path)} is a list of {len(node)}"
            raise RecipeError(f"{items}; {shortened(key)} is not an index of it")
        return int(key)
    if not isinstance(node, dict):
        raise RecipeError(f"{before(origin)}{dotted(path)} is {shortened(node)}, which has no key {key!r}")
    if create and node.get(key) is None:
        tree.put((*path, key), {}, {(*path, key): origin})
    return key
