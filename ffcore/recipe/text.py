"""Reads and writes YAML: with line numbers, without duplicate keys, and with ``1e-3`` as a number."""

from __future__ import annotations

import re
from typing import Any

import yaml

from ffcore.errors import first_line
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.tree import Path, Tree

# PyYAML reads YAML 1.1, in which a float with an exponent needs a dot and a sign: 1e-3 would be a string.
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    pass


class _Dumper(yaml.SafeDumper):
    # No aliases: equal lists and mappings are written in full, each with its own lines.
    def ignore_aliases(self, data: Any) -> bool:
        return True

    # Indent lists inside mappings.
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


# The dumper must know the pattern too, to put strings such as "1e-3" in quotes.
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def parse(text: str, label: str) -> Tree:
    """Read one YAML document whose top level is a mapping.

    Args:
        text: the document.
        label: its name in messages.

    Raises:
        RecipeError: the YAML is not valid, a key is given twice, or the top level is not a mapping.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise RecipeError(f"{label}:1  a recipe is a mapping of keys to values")
        origins: dict[Path, str] = {(): f"{label}:1"}
        return Tree(_plain(loader, node, label, (), origins, ()), origins)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{label}:{mark.line + 1}" if mark else label
        raise RecipeError(f"{where}  broken YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date, for example
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(f"{label}  broken YAML: {first_line(error)}") from error


def parse_value(text: str) -> Any:
    """Read one YAML value.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)


def emit(data: Any) -> str:
    """Write YAML that `parse` can read; the order of keys is kept."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _plain(
    loader: _Loader,
    node: yaml.Node,
    label: str,
    path: Path,
    origins: dict[Path, str],
    around: tuple[yaml.Node, ...],
) -> Any:
    """Returns a node as plain data, and adds the lines of all values in it to ``origins``."""
    if node in around:
        raise RecipeError(f"{_place(label, node)}  an alias inside its own anchor")
    around = (*around, node)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            origins[*path, index] = _place(label, item)
        return [
            _plain(loader, item, label, (*path, index), origins, around)
            for index, item in enumerate(node.value)
        ]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node, deep=True)
    _refuse_duplicates(node, label)
    loader.flatten_mapping(node)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise RecipeError(f"{_place(label, key_node)}  key {key!r} is not text; put it in quotes")
        origins[*path, key] = _place(label, key_node)
        result[key] = _plain(loader, value_node, label, (*path, key), origins, around)
    return result


def _refuse_duplicates(node: yaml.MappingNode, label: str) -> None:
    # Before `<<` is resolved: a key may override one of a merged mapping.
    seen: dict[str, str] = {}
    for key, _ in node.value:
        place = _place(label, key)
        if isinstance(key, yaml.ScalarNode) and seen.setdefault(key.value, place) is not place:
            raise RecipeError(f"{place}  key {key.value!r} is given twice; first at {seen[key.value]}")


def _place(label: str, node: yaml.Node) -> str:
    return f"{label}:{node.start_mark.line + 1}"
