"""Python objects in a recipe: what counts as one, how it is recorded, and how it is given again.

A live object stands in the recipe as it is and is copied only when it is built. In a record (``config.yaml``,
checkpoints) it is plain data: the target ``module:name`` of a class or function that can be imported, which
loads again, or ``{kind: object, is: …}``, which only describes it. Imports no torch.
"""

from __future__ import annotations

import functools
import importlib.machinery
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeGuard

from pydantic import BaseModel

from ffcore.plugin.nouns import NOUNS, Noun
from ffcore.plugin.targets import TARGET, peek_target

OBJECT = "object"
"""The ``kind`` in the record of an object that cannot be imported."""

_LONGEST = 120


class Validated:
    """The base of what a recipe already holds in its validated form."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Named(Validated):
    """An object by its target, imported when it is built.

    Args:
        target: ``module:name``.
    """

    target: str


@dataclass(frozen=True, slots=True)
class Absent(Validated):
    """An object that a record describes and that has not been given again.

    Args:
        described: what it was, in short.
    """

    described: str


_PLAIN = (type(None), str, bytes, int, float, date, Mapping, list, tuple, os.PathLike)
_DATA = (*_PLAIN, BaseModel, Validated)


def is_object(value: object) -> bool:
    """Whether a value in a recipe is a Python object, not data that YAML could have given."""
    return not isinstance(value, _DATA)


def is_function(value: object) -> bool:
    """Whether it is an object that is called as it is: neither a class nor a module of torch's."""
    return callable(value) and not inspect.isclass(value) and not is_instance(value, "torch.nn:Module")


def is_instance(value: object, target: str) -> bool:
    """Whether it is an instance of the class ``module:Name``, which is not imported to find out."""
    kind = peek_target(target)
    return kind is not None and isinstance(value, kind)


def is_target(value: object) -> bool:
    """Whether it has the form ``module:name``."""
    return isinstance(value, str) and re.fullmatch(TARGET, value) is not None


def misfit(value: object, noun: str) -> str | None:
    """Why an object cannot be a component of this noun, in one line; None if it can.

    Besides instances of its contract a black box may be any function of rows.
    """
    contract = NOUNS[noun]
    if inspect.isclass(value):
        return f"{value.__name__} is a class; give an instance: {_construction(value)}"
    if is_instance(value, contract.base) or (noun == "blackbox" and callable(value)):
        return None
    return f"{a(_what(value))} is not {contract.article} ({_wanted(contract)})"


def short(value: object) -> str:
    """An object's repr in one line of limited length, the same in every process.

    >>> short(print), short([1, 2])
    ('function print', '[1, 2]')
    """
    if isinstance(value, functools.partial):
        given = [*map(short, value.args), *(f"{key}={short(item)}" for key, item in value.keywords.items())]
        text = f"partial({', '.join([_name(value.func), *given])})"
    elif inspect.isroutine(value):
        text = f"function {_name(value)}"
    elif inspect.isclass(value):
        text = f"class {_name(value)}"
    else:
        try:
            text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(repr(value).split()))
            text = text.replace("( (", "((").replace(") )", "))")  # torch's modules
        except Exception:  # an object's own code
            text = type(value).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def target_of(value: object) -> str | None:
    """The target by which any process can import a class or function; None where there is none.

    The shortest module that has it is named.

    >>> import collections
    >>> target_of(collections.OrderedDict), target_of(lambda: 0)
    ('collections:OrderedDict', None)
    """
    module = getattr(value, "__module__", None)
    # torch.tanh is found by the latter only
    names = [getattr(value, key, None) for key in ("__qualname__", "__name__")]
    if not isinstance(module, str):
        return None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        prefix = ".".join(parts[:depth])
        for name in names:
            target = f"{prefix}:{name}"
            if is_target(target) and _found(prefix, str(name)) is value and _importable(prefix):
                return target
    return None


def apart(value: Any) -> tuple[Any, dict[str, Any]]:
    """What a `functools.partial` calls and its keyword arguments, if it has no others; else the value."""
    if isinstance(value, functools.partial) and not value.args:
        return value.func, as_data(value.keywords)
    return value, {}


def record(value: object) -> dict[str, Any]:
    """An object as plain data: ``{"kind": target}``, or ``{"kind": "object", "is": description}``."""
    if isinstance(value, Named):
        return {"kind": value.target}
    if isinstance(value, Absent):
        return {"kind": OBJECT, "is": value.described}
    target = target_of(value)
    return {"kind": target} if target is not None else {"kind": OBJECT, "is": short(value)}


def is_record(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is the record of an object that cannot be imported, perhaps with what goes beside it."""
    return isinstance(value, dict) and value.get("kind") == OBJECT and isinstance(value.get("is"), str)


def records(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Path and description of each object that plain data only describe."""
    if is_record(data):
        yield path, data["is"]
    items: Any = ()
    if isinstance(data, dict):
        items = data.items()
    elif isinstance(data, list):
        items = enumerate(data)
    for key, value in items:
        yield from records(value, (*path, key))


def as_kind(value: Any) -> Any:
    """``adam``, or an object, is short for a mapping with this ``kind``."""
    return {"kind": value} if isinstance(value, str) or is_object(value) else value


def copied(data: Any) -> Any:
    """A copy of mappings and lists; objects in them stay the same ones."""
    if isinstance(data, dict):
        return {key: copied(value) for key, value in data.items()}
    return [copied(value) for value in data] if isinstance(data, list) else data


def as_data(value: Any) -> Any:
    """The value as a recipe has it: paths become text, numbers of NumPy and torch Python's; objects stay."""
    if isinstance(value, Mapping):
        return {str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_data(item) for item in value]
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _name(value: Any) -> str:
    name: str = getattr(value, "__qualname__", None) or type(value).__name__
    return name.rpartition("<locals>.")[2]


def _what(value: object) -> str:
    return "function" if inspect.isroutine(value) else type(value).__name__


def a(word: str) -> str:
    """The word with its article."""
    return f"{'an' if word[0] in 'aeiouAEIOU' else 'a'} {word}"


def _wanted(noun: Noun) -> str:
    contract = noun.base.replace(":", ".")
    article = "an" if contract.startswith("ff") else "a"
    also = " or a function" if noun.name == "blackbox" else ""
    return f"should be {article} {contract}{also}, a kind, or a mapping with the key 'kind'"


def _construction(kind: Callable[..., Any]) -> str:
    """How to make an instance: ``SumSquares()``, ``Linear(…)``."""
    name = _name(kind)
    try:
        inspect.signature(kind).bind()
    except (TypeError, ValueError):
        return f"{name}(…)"
    return f"{name}()"


def _found(module: str, name: str) -> Any:
    thing: Any = sys.modules.get(module)
    for part in name.split("."):
        thing = getattr(thing, part, None)
    return thing


def _importable(module: str) -> bool:
    """Whether another process with the same path finds this very module."""
    if module in sys.builtin_module_names:
        return True
    path: Any = None
    spec: importlib.machinery.ModuleSpec | None = None
    whole = ""
    for part in module.split("."):
        whole = f"{whole}.{part}" if whole else part
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        spec = next((found for find in finders if find and (found := find(whole, path))), None)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    loaded = getattr(sys.modules.get(module), "__spec__", None)
    return spec is not None and loaded is not None and spec.origin == loaded.origin
