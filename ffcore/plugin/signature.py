"""What a constructor takes: its arguments with types, defaults and descriptions.

Read off the source file where the class has not been imported (`ffcore.plugin.source`), off the class itself
where it has been, or where the source does not show it. Both give the same.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from ffcore.errors import UserError
from ffcore.plugin.source import (
    Definition,
    Source,
    State,
    UnreadableError,
    base_of,
    find,
    is_within,
    path_of_outside,
    recorded,
    state_of,
    stored_in,
)
from ffcore.plugin.targets import load_target, peek_target, split_target

REQUIRED = inspect.Parameter.empty
"""The default of an argument that has none."""

_ROOTS = (
    *("builtins.object", "object", "abc.ABC", "typing.Generic", "typing.Protocol"),
    *("torch.nn.Module", "torch.nn.modules.module.Module", "ffcore.interfaces", "ffcore.data.images.Dataset"),
)
"""Classes, and packages of classes, whose constructors take nothing."""

_MODULE = "torch.nn.modules.module"
"""Where nn.Module is, whose constructor takes anything and refuses it."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a constructor or function.

    Args:
        name: its name.
        annotation: its type; a class that was not imported is a stand-in, see `ffcore.plugin.source.outside`.
        default: its default, or `REQUIRED`.
        description: what the docstring's ``Args:`` say, or None.
    """

    name: str
    annotation: Any
    default: Any
    description: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """The arguments of a class's constructor, or of a function.

    Args:
        name: of the class or function.
        summary: first line of its docstring.
        arguments: without ``self``, ``*args`` and ``**kwargs``.
        imported: whether the class was imported to find out.
        takes_more: whether it has ``**kwargs``, so that further options may be its own affair.
    """

    name: str
    summary: str
    arguments: tuple[Argument, ...]
    imported: bool
    takes_more: bool = False


def signature_of(target: Any, supplied: Iterable[str] = ()) -> Signature:
    """The signature of a class or function.

    Args:
        target: ``package.module:Name``, or the object itself.
        supplied: arguments that recipes do not write.

    Raises:
        UserError: an argument has no annotation, or one that cannot be read.
        Exception: what importing the target raises, where that is needed.
    """
    loaded = target
    if isinstance(target, str):
        loaded = peek_target(target)
        if loaded is None:
            try:
                return source_signature(target, tuple(supplied))
            except UnreadableError:
                loaded = load_target(target)
    try:
        return imported_signature(loaded, tuple(supplied))
    except UserError:
        place = f"{getattr(loaded, '__module__', '')}:{getattr(loaded, '__qualname__', '')}"
        with suppress(UnreadableError):  # names that exist for type checkers only
            return source_signature(place, tuple(supplied))
        raise


_READ: dict[tuple[str, tuple[str, ...]], tuple[Signature, dict[Path, State]]] = {}


def source_signature(target: str, supplied: tuple[str, ...] = ()) -> Signature:
    """The signature of ``package.module:Name`` as its source has it; nothing heavy is imported.

    It is read again when one of the files that it was read from has changed.

    Raises:
        UnreadableError: the source does not show it.
    """
    known = _READ.get((target, supplied))
    if known is not None and all(state_of(path) == state for path, state in known[1].items()):
        return known[0]
    with recorded() as files:
        try:
            signature = _source_signature(target, supplied)
        except RecursionError as error:  # names that stand for each other
            raise UnreadableError(f"{target}: {error}") from error
    _READ[target, supplied] = signature, {path: state_of(path) for path in files}
    return signature


def files_read() -> set[Path]:
    """The source files that signatures have been read from."""
    return {path for _, files in _READ.values() for path in files}


def _source_signature(target: str, supplied: tuple[str, ...]) -> Signature:
    source, node = find(*split_target(target))
    documented, init, home, local = _constructor(source, node)
    docs: dict[str, str] = {}
    for text in reversed(documented):
        docs |= _argument_docs(text)
    arguments = () if init is None else tuple(_arguments(home, local, node.name, init, docs, supplied))
    takes_more = init is not None and init.args.kwarg is not None
    return Signature(node.name, _first_line(documented[0]), arguments, False, takes_more)


@functools.cache
def imported_signature(target: Callable[..., Any], supplied: tuple[str, ...] = ()) -> Signature:
    """The signature of a class or function itself; errors as in `signature_of`."""
    init: Any = target.__init__ if inspect.isclass(target) else target
    name = getattr(target, "__name__", type(target).__name__)
    try:
        hints = get_type_hints(init, include_extras=True)
    except Exception as error:  # a name that exists for type checkers only, most often
        raise UserError(f"the annotations of {name} cannot be read: {error}") from error
    docs: dict[str, str] = {}
    if inspect.isclass(target):
        for each in reversed(target.__mro__[:-1]):
            docs |= _argument_docs(each.__doc__) if each.__module__ != _MODULE else {}
    docs |= _argument_docs(init.__doc__)
    arguments = []
    parameters = [*inspect.signature(init).parameters.values()][inspect.isclass(target) :]  # without self
    for arg in parameters:
        if arg.name in supplied or arg.kind in (arg.VAR_POSITIONAL, arg.VAR_KEYWORD):
            continue
        if arg.name not in hints:
            if arg.default is not REQUIRED:
                continue  # only Python can give it
            raise _untyped(arg.name, name)
        arguments.append(Argument(arg.name, hints[arg.name], arg.default, docs.get(arg.name)))
    own = getattr(init, "__module__", _MODULE) != _MODULE  # not that of nn.Module, nor object's
    takes_more = own and any(arg.kind is arg.VAR_KEYWORD for arg in parameters)
    return Signature(name, _first_line(inspect.getdoc(target)), tuple(arguments), True, takes_more)


def summary_of(target: Any) -> str:
    """First line of the docstring of a class or function, read off the source where that has not been run."""
    if isinstance(target, str):
        loaded = peek_target(target)
        if loaded is None:
            try:
                return _first_line(ast.get_docstring(find(*split_target(target))[1]))
            except UnreadableError:
                loaded = load_target(target)
        target = loaded
    return _first_line(inspect.getdoc(target))


def _constructor(
    source: Source, node: Definition
) -> tuple[list[str | None], ast.FunctionDef | None, Source, frozenset[str]]:
    """Docstrings from the class up to its constructor, the constructor, its file, the names of its class."""
    if node.decorator_list:
        raise UnreadableError(f"{source.module}:{node.name} has a decorator")
    if isinstance(node, ast.FunctionDef):
        return [ast.get_docstring(node)], node, source, frozenset()
    local = stored_in(node)
    if node.keywords or {"__new__", "__signature__"} & local:
        raise UnreadableError(f"{source.module}:{node.name} has a metaclass, or makes its signature")
    documented: list[str | None] = [ast.get_docstring(node)]
    inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    if "__init__" in local:
        if len(inits) != 1 or inits[0].decorator_list:
            raise UnreadableError(f"{source.module}:{node.name} has overloads, or a decorated constructor")
        return [ast.get_docstring(node), ast.get_docstring(inits[0])], inits[0], source, local
    bases = [path for path in (base_of(source, base) for base in node.bases) if not is_within(path, _ROOTS)]
    if len(bases) > 1:  # which constructor is inherited is a matter of the classes' order
        raise UnreadableError(f"{source.module}:{node.name} has several bases")
    for path in bases:
        module, _, name = path.rpartition(".")
        inherited, init, home, names = _constructor(*find(module, name))
        if init is not None:
            return [*documented, *inherited], init, home, names
    return documented, None, source, local


def _arguments(
    source: Source,
    local: frozenset[str],
    owner: str,
    node: ast.FunctionDef,
    docs: dict[str, str],
    supplied: tuple[str, ...],
) -> Iterator[Argument]:
    args = node.args
    positional = [*args.posonlyargs, *args.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
    pairs = [*zip(positional, [*missing, *args.defaults], strict=True)][node.name == "__init__" :]  # no self
    pairs += zip(args.kwonlyargs, args.kw_defaults, strict=True)
    for arg, default in pairs:
        if arg.arg in supplied:
            continue
        if arg.annotation is None:
            if default is not None:
                continue  # only Python can give it
            raise _untyped(arg.arg, owner)
        annotation = _spelled_out(arg.annotation)
        read = [annotation] if default is None else [annotation, default]
        if any(isinstance(n, ast.Name) and n.id in local for part in read for n in ast.walk(part)):
            raise UnreadableError(f"{arg.arg} of {owner} uses a name of the class")
        value = REQUIRED if default is None else source.evaluate(default)
        if path_of_outside(value) is not None:
            raise UnreadableError(f"the default of {arg.arg} is in a module that was not imported")
        yield Argument(arg.arg, source.evaluate(annotation), value, docs.get(arg.arg))


def _spelled_out(annotation: ast.expr) -> ast.expr:
    """An annotation that is a string is the expression in it."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


def _untyped(argument: str, name: str) -> UserError:
    return UserError(f"argument {argument!r} of {name} has no type; annotate it")


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0].replace("``", "")


def _argument_docs(text: str | None) -> dict[str, str]:
    """The ``Args:`` section of a Google-style docstring, by argument."""
    docs: dict[str, str] = {}
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", inspect.cleandoc(text or ""), re.MULTILINE)
    if section is not None:
        lines = inspect.cleandoc("\n" + section[1])
        for item in re.split(r"\n(?=\S)", lines):
            found = re.match(r"(\w+)(?: \([^)]*\))?:\s*(.*)", item, re.DOTALL)
            if found:
                docs[found[1]] = " ".join(found[2].split()).replace("``", "")
    return docs
