"""Python objects in a recipe, and their records in files.

A recipe in memory refers to the object itself; it is copied only when the network is built. A record of it
(in ``config.yaml`` and checkpoints) is plain data. For a class or function that can be imported it is the
target ``module:name``, from which it is loaded again. For all other objects it is ``{kind: object, is: …}``,
which only describes them. Does not import torch.
"""

from __future__ import annotations

import functools
import hashlib
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

from ffcore.errors import a
from ffcore.plugin.nouns import NOUNS, Noun
from ffcore.plugin.targets import TARGET, peek_target

OBJECT = "object"
"""The ``kind`` in the record of an object that cannot be imported."""

_LONGEST = 120  # characters of a description in a message
_RECORDED = 2000  # in a record, by which the objects of a resumed run are compared


class Validated:
    """Base of values that are already validated."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Named(Validated):
    """An object given by its target. It is imported when the network is built.

    Args:
        target: ``module:name``.
    """

    target: str


@dataclass(frozen=True, slots=True)
class Absent(Validated):
    """An object of which only the record exists.

    Args:
        described: the description in the record.
    """

    described: str


_PLAIN = (type(None), str, bytes, int, float, date, Mapping, list, tuple, os.PathLike)
_DATA = (*_PLAIN, BaseModel, Validated)


def is_object(value: object) -> bool:
    """Whether a value in a recipe is a Python object and not data as from YAML."""
    return not isinstance(value, _DATA)


def is_function(value: object) -> bool:
    """Whether a value is callable, but not a class and not a torch module."""
    return callable(value) and not inspect.isclass(value) and not is_instance(value, "torch.nn:Module")


def is_instance(value: object, target: str) -> bool:
    """Whether a value is an instance of the class ``module:Name``. Does not import the module."""
    kind = peek_target(target)
    return kind is not None and isinstance(value, kind)


def is_target(value: object) -> bool:
    """Whether a value has the form ``module:name``."""
    return isinstance(value, str) and re.fullmatch(TARGET, value) is not None


def misfit(value: object, noun: str) -> str | None:
    """Returns the reason why an object cannot be a component of this noun; None if it can.

    A component is an instance of its contract. A black box may also be any function of rows.
    """
    contract = NOUNS[noun]
    if inspect.isclass(value):
        return f"{value.__name__} is a class; give an instance: {_construction(value)}"
    if is_instance(value, contract.base) or (noun == "blackbox" and callable(value)):
        return None
    return f"{a(_what(value))} is not {contract.article} ({_wanted(contract)})"


def short(value: object) -> str:
    """Returns an object's repr in one line of limited length, the same in every process.

    >>> short(print), short([1, 2])
    ('function print', '[1, 2]')
    """
    text = _line(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _recorded(value: object) -> str:
    """Returns an object's repr for its record. A long one ends with a digest: what is cut off counts too."""
    text = _line(value)
    if len(text) <= _RECORDED:
        return text
    return f"{text[: _RECORDED - 1]}… {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _line(value: object) -> str:
    """Returns an object's repr in one line."""
    if isinstance(value, functools.partial):
        given = [*map(short, value.args), *(f"{key}={short(item)}" for key, item in value.keywords.items())]
        text = f"partial({', '.join([_name(value.func), *given])})"
    elif inspect.isroutine(value):
        text = f"function {_name(value)}"
    elif inspect.isclass(value):
        text = f"class {_name(value)}"
    else:
        try:
            # memory addresses differ between processes
            text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(repr(value).split()))
            text = text.replace("( (", "((").replace(") )", "))")  # torch's modules
        except Exception:  # raised by the object's own __repr__
            text = type(value).__name__
    return text


def target_of(value: object) -> str | None:
    """Returns the target by which another process can import a class or function; None if it cannot.

    Of several modules that have it, the target names the shortest.

    >>> import collections
    >>> target_of(collections.OrderedDict), target_of(lambda: 0)
    ('collections:OrderedDict', None)
    """
    module = getattr(value, "__module__", None)
    # __qualname__ of torch.tanh is not a name in torch, but __name__ is
    names = [getattr(value, key, None) for key in ("__qualname__", "__name__")]
    if not isinstance(module, str):
        return None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        prefix = ".".join(parts[:depth])
        for name in names:
            target = f"{prefix}:{name}"
            if is_target(target) and _look_up(prefix, str(name)) is value and _importable(prefix):
                return target
    return None


def apart(value: Any) -> tuple[Any, dict[str, Any]]:
    """Returns function and keyword arguments of a `functools.partial` without positional arguments.

    For other values: the value, and no arguments.
    """
    if isinstance(value, functools.partial) and not value.args:
        return value.func, as_data(value.keywords)
    return value, {}


def record(value: object) -> dict[str, Any]:
    """Returns the record of an object: ``{"kind": target}``, or ``{"kind": "object", "is": description}``."""
    if isinstance(value, Named):
        return {"kind": value.target}
    if isinstance(value, Absent):
        return {"kind": OBJECT, "is": value.described}
    target = target_of(value)
    return {"kind": target} if target is not None else {"kind": OBJECT, "is": _recorded(value)}


def is_record(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value is the record of an object that cannot be imported, perhaps with options beside it."""
    return isinstance(value, dict) and value.get("kind") == OBJECT and isinstance(value.get("is"), str)


def records(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield path and description of each record of an object that cannot be imported."""
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
    """Returns ``{"kind": value}`` for a string or an object; other values unchanged."""
    return {"kind": value} if isinstance(value, str) or is_object(value) else value


def copied(data: Any) -> Any:
    """Copy mappings and lists, but not the objects in them."""
    if isinstance(data, dict):
        return {key: copied(value) for key, value in data.items()}
    return [copied(value) for value in data] if isinstance(data, list) else data


def as_data(value: Any) -> Any:
    """Convert paths to strings, and numbers of NumPy and torch to Python's; objects are kept."""
    if isinstance(value, Mapping):
        return {str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_data(item) for item in value]
    # duck typing, since this module must not import torch
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _name(value: Any) -> str:
    name: str = getattr(value, "__qualname__", None) or type(value).__name__
    return name.rpartition("<locals>.")[2]


def _what(value: object) -> str:
    return "function" if inspect.isroutine(value) else type(value).__name__


def _wanted(noun: Noun) -> str:
    contract = noun.base.replace(":", ".")
    article = "an" if contract.startswith("ff") else "a"
    also = " or a function" if noun.name == "blackbox" else ""
    return f"should be {article} {contract}{also}, a kind, or a mapping with the key 'kind'"


def _construction(kind: Callable[..., Any]) -> str:
    """Returns the call that makes an instance, for messages: ``SumSquares()``, ``Linear(…)``."""
    name = _name(kind)
    try:
        inspect.signature(kind).bind()
    except (TypeError, ValueError):
        return f"{name}(…)"
    return f"{name}()"


def _look_up(module: str, name: str) -> Any:
    # only loaded modules: an import here could have side effects
    thing: Any = sys.modules.get(module)
    for part in name.split("."):
        thing = getattr(thing, part, None)
    return thing


def _importable(module: str) -> bool:
    """Whether another process with the same import path finds this module.

    False for a module of a notebook, and for one that another file shadows.
    """
    if module in sys.builtin_module_names:
        return True
    path: Any = None
    spec: importlib.machinery.ModuleSpec | None = None
    name = ""
    # The finders are asked directly: importlib.util.find_spec would return the spec of the loaded module.
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        spec = next((result for find in finders if find and (result := find(name, path))), None)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    loaded = getattr(sys.modules.get(module), "__spec__", None)
    return spec is not None and loaded is not None and spec.origin == loaded.origin
