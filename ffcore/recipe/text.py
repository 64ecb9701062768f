"""Reads and writes YAML: with line numbers, without duplicate keys, and with limits on size and depth.

Numbers are read as in YAML 1.2: ``1e-3`` is a float, ``010`` is ten, ``1:30`` and ``2026-01-01`` are text.
"""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Any, Literal, NamedTuple

import yaml

from ffcore.errors import first_line, shortened
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.strings import refuse_control_characters
from ffcore.recipe.tree import Path, Tree

MOST_BYTES = 4 << 20
"""Maximum size of a recipe file."""
MOST_VALUES = 100_000
"""Maximum number of values in a document, each alias counted with all values inside it."""
DEEPEST = 50
"""Maximum depth of nested lists and mappings."""

_INT = re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_TAG = "tag:yaml.org,2002:"
_BITS_64 = range(-(2**63), 2**64)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    pass


class _Dumper(yaml.SafeDumper):
    # No aliases: equal lists and mappings are written in full, each with its own lines.
    def ignore_aliases(self, data: Any) -> bool:
        return True

    # Indent lists inside mappings.
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    # YAML 1.1, which PyYAML reads, has octal 010 and sexagesimal 1:30
    text = str(loader.construct_scalar(node)).replace("_", "")
    return int(text, 0 if re.match(r"[-+]?0[box]", text) else 10)


# PyYAML reads YAML 1.1, in which a float with an exponent needs a dot and a sign: 1e-3 would be a string.
_OWN = {f"{_TAG}{name}" for name in ("int", "float", "timestamp")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in _OWN]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(f"{_TAG}int", _int)
# The dumper must know the patterns too, to put strings such as "1e-3" in quotes.
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(f"{_TAG}int", re.compile(f"(?:{_INT.pattern})$"), list("-+0123456789"))
    _side.add_implicit_resolver(f"{_TAG}float", re.compile(f"(?:{_FLOAT.pattern})$"), list("-+.0123456789"))


class Document(NamedTuple):
    """A YAML document.

    Attributes:
        data: mappings, lists, text, numbers, booleans and None.
        origins: the place of every value, by path.
    """

    data: Any
    origins: dict[Path, str]


def read(path: FilePath) -> str:
    """Returns the text of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, is not a regular file, or is not UTF-8.
    """
    # a FIFO or a device would block, or never end
    if not path.is_file():
        raise ValueError("not a file" if path.exists() else "no such file")
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES >> 20} MiB, which no recipe is")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8 text; save the file as UTF-8") from error


def parse(text: str, label: str) -> Tree:
    """Read one YAML document whose top level is a mapping.

    Args:
        text: the document.
        label: its name in messages.

    Raises:
        RecipeError: the YAML is not valid, a key is given twice, or the top level is not a mapping.
    """
    node = _composed(text, label)
    if not isinstance(node, yaml.MappingNode):
        raise RecipeError(f"{label}:1  a recipe is a mapping of keys to values")
    reader = _Reader(label, lines=True)
    return Tree(reader.read(node, (), ()), {(): f"{label}:1", **reader.origins})


def parse_value(text: str, origin: str = "") -> Any:
    """Read one YAML value; nothing may come after it, not even a comment.

    Args:
        text: the value.
        origin: its place in messages.

    Raises:
        RecipeError: it is not YAML, or has a comment.
    """
    return parse_part(text, origin).data


def parse_part(text: str, origin: str) -> Document:
    """Read one YAML value as `parse_value`, with the origin of each value in it."""
    node = _composed(text, origin)
    if node is None:
        return Document(None, {})
    reader = _Reader(origin, lines=False)
    data = reader.read(node, (), ())
    comment = text[reader.end :].partition("#")[1:]
    if comment[0]:
        raise RecipeError(
            f"{origin}  {''.join(comment)!r} is a comment in YAML; put the value in quotes, or leave it out"
        )
    return Document(data, reader.origins)


def emit(data: Any) -> str:
    """Write YAML that `parse` can read; the order of keys is kept."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _composed(text: str, label: str) -> yaml.Node | None:
    """Returns the nodes of a document; None if it is empty."""
    try:
        return _Loader(text).get_single_node()  # type: ignore[no-any-return]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{label}:{mark.line + 1}" if mark and not label.startswith("override ") else label
        problem = str(error.problem or error.context)
        # libyaml does not name an undefined alias: its name stands at the mark
        column = mark.column if mark else 0
        named = re.match(r"[*&][^\s,\]}]+", [*text.splitlines(), ""][mark.line][column:]) if mark else None
        if named and named[0] not in problem:
            problem += f" {shortened(named[0])}"
        raise RecipeError(f"{where}  broken YAML: {problem}") from error
    except RecursionError as error:
        raise RecipeError(f"{label}  broken YAML: nested more than {DEEPEST} levels deep") from error
    except UnicodeEncodeError as error:
        raise RecipeError(f"{label}  not UTF-8 text") from error
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{label}  broken YAML: {first_line(error)}") from error


class _Reader:
    """Converts the nodes of one document to plain data.

    Args:
        label: the name of the document in messages.
        lines: whether messages have the line too.

    Attributes:
        origins: the place of every value.
        end: index of the character after the last value.
    """

    def __init__(self, label: str, *, lines: bool) -> None:
        self.label, self.lines = label, lines
        self.origins: dict[Path, str] = {}
        self.end = 0
        self._count = 0
        self._loader = _Loader("")  # its constructors alone are used

    def read(self, node: yaml.Node, path: Path, around: tuple[yaml.Node, ...]) -> Any:
        """Returns a node as plain data.

        Args:
            node: the node.
            path: its path in the document.
            around: the lists and mappings that it is in.

        Raises:
            RecipeError: it has a key twice, an unknown tag or a value of the wrong form, or is too large.
        """
        self._count += 1
        if self._count > MOST_VALUES:
            raise RecipeError(
                f"{self.place(node)}  more than {MOST_VALUES} values; look for repeated aliases"
            )
        # node by node: equality would compare whole trees
        if any(node is one for one in around):
            raise RecipeError(f"{self.place(node)}  an alias inside its own anchor")
        if len(around) > DEEPEST:
            raise RecipeError(f"{self.place(node)}  nested more than {DEEPEST} levels deep")
        self.end = max(self.end, node.end_mark.index if isinstance(node, yaml.ScalarNode) else 0)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        around = (*around, node)
        if isinstance(node, yaml.SequenceNode):
            self._require(node, "seq", "a list")
            for index, item in enumerate(node.value):
                self.origins[*path, index] = self.place(item)
            return [self.read(item, (*path, index), around) for index, item in enumerate(node.value)]
        self._require(node, "map", "a mapping")
        return self._mapping(node, path, around)

    def place(self, node: yaml.Node) -> str:
        """Returns the file and line of a node, or the override that it is in."""
        return f"{self.label}:{node.start_mark.line + 1}" if self.lines else self.label

    def _mapping(self, node: yaml.Node, path: Path, around: tuple[yaml.Node, ...]) -> dict[str, Any]:
        self._refuse_duplicates(node)
        result: dict[str, Any] = {}
        for key, value in node.value:
            # PyYAML's own merge repeats the pairs of every alias: a few lines could make 10⁹ of them
            if key.tag == f"{_TAG}merge":
                merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for one in reversed(merged):  # of several mappings the first has precedence
                    if not isinstance(one, yaml.MappingNode):
                        raise RecipeError(f"{self.place(key)}  << needs a mapping, or a list of mappings")
                    result |= self.read(one, path, around)
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                continue
            name = self._key(key)
            self.origins[*path, name] = self.place(key)
            result[name] = self.read(value, (*path, name), around)
        return result

    def _key(self, node: yaml.Node) -> str:
        name = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(name, str):
            shown = shortened(node.value) if isinstance(node, yaml.ScalarNode) else "of several values"
            raise RecipeError(f"{self.place(node)}  key {shown} is not text; put it in quotes")
        return name

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            value = self._loader.construct_object(node, deep=True)
            if isinstance(value, str):
                refuse_control_characters(value)
        except UnicodeError as error:
            raise RecipeError(f"{self.place(node)}  {error}") from error
        except Exception as error:  # PyYAML raises KeyError, IndexError and others for a value of another tag
            tag = node.tag.replace(_TAG, "!!")
            raise RecipeError(
                f"{self.place(node)}  {shortened(node.value)} is not a value of {tag}"
            ) from error
        if not isinstance(value, str | int | float | None):
            raise RecipeError(
                f"{self.place(node)}  {shortened(node.value)} is a {type(value).__name__}; a recipe holds "
                "text, numbers, true, false and null"
            )
        if isinstance(value, int) and value not in _BITS_64:
            raise RecipeError(f"{self.place(node)}  {shortened(node.value)} does not fit into 64 bits")
        return value

    def _require(self, node: yaml.Node, tag: Literal["seq", "map"], what: str) -> None:
        if node.tag != f"{_TAG}{tag}":
            shown = node.tag.replace(_TAG, "!!")
            raise RecipeError(f"{self.place(node)}  tag {shortened(shown)} on {what}; leave it out")

    def _refuse_duplicates(self, node: yaml.Node) -> None:
        # Before `<<` is resolved: a key may override one of a merged mapping.
        seen: dict[str, str] = {}
        for key, _ in node.value:
            place = self.place(key)
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    first = f"; first at {seen[key.value]}" if self.lines else ""
                    raise RecipeError(f"{place}  key {key.value!r} is given twice{first}")
                seen[key.value] = place
