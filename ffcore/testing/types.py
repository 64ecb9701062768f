"""Whether every value of one type is a value of another, read off their JSON schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]


def fits(narrow: Schema, wide: Schema, here: Schema | None = None, there: Schema | None = None) -> bool:
    """Whether ``wide`` allows all that ``narrow`` does; bounds are not looked at.

    Args:
        narrow: schema of a value, as pydantic writes it.
        wide: the schema to compare it with.
        here: the document that ``$ref`` of ``narrow`` point into.
        there: the same for ``wide``.

    >>> fits({"type": "integer"}, {"anyOf": [{"type": "number"}, {"type": "null"}]})
    True
    >>> fits({"type": "string"}, {"enum": ["a", "b"], "type": "string"})
    False
    """
    here, there = here or {}, there or {}
    narrow, wide = _resolved(narrow, here), _resolved(wide, there)
    if "anyOf" in narrow:
        return all(fits(one, wide, here, there) for one in narrow["anyOf"])
    if "anyOf" in wide:
        return any(fits(narrow, one, here, there) for one in wide["anyOf"])
    if "x-component" in narrow or "x-component" in wide:
        return bool(narrow.get("x-component") == wide.get("x-component"))
    chosen, choice = _choices(narrow), _choices(wide)
    if choice is not None:
        return chosen is not None and set(chosen) <= set(choice)
    types = narrow.get("type"), wide.get("type")
    if types[1] is not None and types[0] != types[1] and types != ("integer", "number"):
        return False
    mine, theirs = _inside(narrow), _inside(wide)
    same_length = len(narrow.get("prefixItems", ())) == len(wide.get("prefixItems", ()))
    shared = mine.keys() & theirs.keys()
    return same_length and all(fits(mine[key], theirs[key], here, there) for key in shared)


def _inside(schema: Schema) -> dict[str, Schema]:
    """The schemas of what a list, a tuple or a mapping holds."""
    parts = {key: schema.get(key) for key in ("items", "additionalProperties")}
    parts |= {str(i): part for i, part in enumerate(schema.get("prefixItems", ()))}
    return {key: part for key, part in parts.items() if isinstance(part, Mapping)}


def _resolved(schema: Schema, document: Schema) -> Schema:
    while "$ref" in schema:
        schema = document["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return schema


def _choices(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    found: list[Any] | None = schema.get("enum")
    return found
