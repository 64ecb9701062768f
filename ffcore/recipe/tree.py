"""`Tree`: plain data with the file and line of each value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ffcore.plugin.nouns import NOUNS
from ffcore.recipe.objects import copied, is_object, is_record

Path = tuple[str | int, ...]

OVERRIDE = "override "
"""Beginning of the origin of a value from an override."""


FROM_PYTHON = f"{OVERRIDE}from Python"
"""Origin of a value from Python; messages omit it."""


def before(place: str) -> str:
    """Returns an origin as the beginning of a message.

    >>> before("mine.yaml:3"), before(FROM_PYTHON)
    ('mine.yaml:3  ', '')
    """
    return "" if place == FROM_PYTHON else f"{place}  "


def dotted(path: Path) -> str:
    """Returns a path as in overrides; the top level is ``recipe``.

    >>> dotted(("network", 0, "units"))
    'network.0.units'
    """
    # a key may hold a line break
    return ".".join(key if (key := str(part)).isprintable() else repr(key) for part in path) or "recipe"


@dataclass(slots=True)
class Tree:
    """A document with origins.

    Args:
        data: mappings, lists, scalars and objects from Python.
        origins: ``file:line`` or the override, for every path in the data.
    """

    data: dict[str, Any]
    origins: dict[Path, str]

    def origin(self, path: Path) -> str:
        """Returns the origin of a path; see the function `origin`."""
        return origin(self.origins, path)

    def at(self, path: Path) -> Any:
        """Returns the value at a path."""
        node: Any = self.data
        for part in path:
            node = node[part]
        return node

    def put(self, path: Path, value: Any, origins: dict[Path, str]) -> None:
        """Set the value at a path, whose parent exists, and replace the origins of the old value."""
        parent = self.at(path[:-1])
        # all origins below the path belong to the old value
        if isinstance(parent, list) or path[-1] in parent:
            self._forget(path)
        parent[path[-1]] = value
        self.origins.update(origins)

    def _forget(self, path: Path) -> None:
        """Remove the origins of a value and of all values in it."""
        for place in _paths(self.at(path), path):
            self.origins.pop(place, None)

    def unfold(self, path: Path) -> None:
        """Replace a kind or an object at this path by the mapping ``{kind: adam}``."""
        kind = self.at(path)
        if isinstance(kind, str) or is_object(kind):
            self.put(path, {"kind": kind}, {path: self.origin(path), (*path, "kind"): self.origin(path)})

    def give(self, path: Path, value: Any, origin: str) -> None:
        """Set the value at a path. An object that replaces a record keeps the keys beside the record."""
        below = self.at(path[:-1])
        before = below.get(path[-1]) if isinstance(below, dict) else below[path[-1]]
        if is_record(before) and is_object(value) and before.keys() > {"kind", "is"}:
            del before["is"]
            path = (*path, "kind")
        elif path[-1] == "kind" and is_record(below):
            del below["is"]
        self.put(path, value, {path: origin})

    def drop_options(self, path: Path, keep_overrides: bool = False) -> None:
        """Remove the options of the component at this path, because its kind changes.

        Keys of a data set or a block that are not options of the component are kept, and so are values from
        overrides.
        """
        common = _beside_options(path)
        for key in list(self.at(path)):
            here = (*path, key)
            overridden = keep_overrides and self.origin(here).startswith(OVERRIDE)
            if key not in common and not overridden:
                self._forget(here)
                del self.at(path)[key]


def origin(origins: Mapping[Path, str], path: Path) -> str:
    """Returns the origin of the value at a path, or of the nearest value around it."""
    while path and path not in origins:
        path = path[:-1]
    return origins.get(path, "")


class Written:
    """The origins of a recipe's values. All instances are equal: recipes are compared without them."""

    def __init__(self, origins: Mapping[Path, str]) -> None:
        self.origins = origins

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Written)

    __hash__ = None  # type: ignore[assignment]


def merge(base: Tree, over: Tree) -> Tree:
    """Returns ``base`` with the values of ``over``.

    Mappings are merged, all other values are replaced. If a kind changes, the old options are removed.
    """
    result = Tree(copied(base.data), dict(base.origins))
    _lay(result, over, ())
    return result


def _lay(result: Tree, over: Tree, path: Path) -> None:
    for key, value in over.at(path).items():
        here = (*path, key)
        before = result.at(path).get(key)
        # a kind alone and a mapping can only be merged as two mappings
        if isinstance(value, str) and isinstance(before, dict):
            over.unfold(here)
        elif isinstance(value, dict) and isinstance(before, str):
            result.unfold(here)
        new, old = over.at(here), result.at(path).get(key)
        if not (isinstance(new, dict) and isinstance(old, dict)):
            known = {place: over.origins[place] for place in _paths(new, here) if place in over.origins}
            result.put(here, copied(new), known)
            continue
        if new.get("kind", old.get("kind")) != old.get("kind"):
            result.drop_options(here)
        result.origins[here] = over.origin(here)
        _lay(result, over, here)


def _paths(value: Any, path: Path) -> Iterator[Path]:
    """Yields the path of a value, and those of all values in it."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(item, (*path, key))


def _beside_options(path: Path) -> Iterable[str]:
    """Returns the keys in a component's mapping that are not options of the component."""
    if path == ("data",):
        return NOUNS["dataset"].reserved - {"kind"}
    if len(path) > 1 and path[-2] in ("network", "items") and isinstance(path[-1], int):
        return NOUNS["body"].reserved - {"kind"}
    return ()
