"""Plain data that remembers where each value was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ffcore.plugin.nouns import NOUNS
from ffcore.recipe.objects import copied, is_object, is_record

Path = tuple[str | int, ...]

OVERRIDE = "override "
"""How the place of a value that came from an override begins."""


FROM_PYTHON = f"{OVERRIDE}from Python"
"""The place of a value from Python, of which messages say the path alone."""


def before(place: str) -> str:
    """A place as a message begins with it.

    >>> before("mine.yaml:3"), before(FROM_PYTHON)
    ('mine.yaml:3  ', '')
    """
    return "" if place == FROM_PYTHON else f"{place}  "


def dotted(path: Path) -> str:
    """A path as overrides write it; the whole document is ``recipe``.

    >>> dotted(("network", 0, "units"))
    'network.0.units'
    """
    return ".".join(map(str, path)) or "recipe"


@dataclass(slots=True)
class Tree:
    """A document.

    Args:
        data: mappings, lists, scalars and objects from Python.
        origins: ``file:line`` or the override, for every path in the data.
    """

    data: dict[str, Any]
    origins: dict[Path, str]

    def origin(self, path: Path) -> str:
        """See the function of that name."""
        return origin(self.origins, path)

    def at(self, path: Path) -> Any:
        """The value at a path."""
        node: Any = self.data
        for part in path:
            node = node[part]
        return node

    def put(self, path: Path, value: Any, origins: dict[Path, str]) -> None:
        """Set the value at a path, whose parent exists, and forget where the old one came from."""
        self.at(path[:-1])[path[-1]] = value
        depth = len(path)
        kept = {place: said for place, said in self.origins.items() if place[:depth] != path}
        self.origins = {**kept, **origins}

    def unfold(self, path: Path) -> None:
        """Turn ``adam``, or an object, at this path into the ``{kind: adam}`` that it is short for."""
        kind = self.at(path)
        if isinstance(kind, str) or is_object(kind):
            self.put(path, {"kind": kind}, {path: self.origin(path), (*path, "kind"): self.origin(path)})

    def give(self, path: Path, value: Any, said: str) -> None:
        """Set the value at a path; an object in place of a record leaves what stands beside the record."""
        below = self.at(path[:-1])
        before = below.get(path[-1]) if isinstance(below, dict) else below[path[-1]]
        if is_record(before) and is_object(value) and before.keys() > {"kind", "is"}:
            del before["is"]
            path = (*path, "kind")
        elif path[-1] == "kind" and is_record(below):
            del below["is"]
        self.put(path, value, {path: said})

    def drop_options(self, path: Path, keep_overrides: bool = False) -> None:
        """Forget the options of the component at this path, whose kind is about to change.

        What a data set or a block has besides its options stays, and so does what came from an override.
        """
        common = _beside_options(path)
        for key in list(self.at(path)):
            here = (*path, key)
            overridden = keep_overrides and self.origin(here).startswith(OVERRIDE)
            if key not in common and not overridden:
                del self.at(path)[key]
                self.origins = {p: said for p, said in self.origins.items() if p[: len(here)] != here}


def origin(origins: Mapping[Path, str], path: Path) -> str:
    """Where the value at a path, or the nearest one around it, was written."""
    while path and path not in origins:
        path = path[:-1]
    return origins.get(path, "")


class Written:
    """Where a recipe's lines were written. It is no part of what the recipe says: all are equal."""

    def __init__(self, origins: Mapping[Path, str]) -> None:
        self.origins = origins

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Written)

    __hash__ = None  # type: ignore[assignment]


def merge(base: Tree, over: Tree) -> Tree:
    """``over`` laid upon ``base``.

    Mappings are merged, everything else is replaced; where the kind changes, the old options go.
    """
    result = Tree(copied(base.data), dict(base.origins))
    _lay(result, over, ())
    return result


def _lay(result: Tree, over: Tree, path: Path) -> None:
    for key, value in over.at(path).items():
        here = (*path, key)
        before = result.at(path).get(key)
        if isinstance(value, str) and isinstance(before, dict):
            over.unfold(here)
        elif isinstance(value, dict) and isinstance(before, str):
            result.unfold(here)
        new, old = over.at(here), result.at(path).get(key)
        if not (isinstance(new, dict) and isinstance(old, dict)):
            result.put(here, copied(new), _under(over.origins, here))
            continue
        if new.get("kind", old.get("kind")) != old.get("kind"):
            result.drop_options(here)
        result.origins[here] = over.origin(here)
        _lay(result, over, here)


def _under(origins: dict[Path, str], path: Path) -> dict[Path, str]:
    return {place: said for place, said in origins.items() if place[: len(path)] == path}


def _beside_options(path: Path) -> Iterable[str]:
    """What is written into a component's mapping and is not an option of it."""
    if path == ("data",):
        return NOUNS["dataset"].reserved - {"kind"}
    if len(path) > 1 and path[-2] in ("network", "items") and isinstance(path[-1], int):
        return NOUNS["body"].reserved - {"kind"}
    return ()
