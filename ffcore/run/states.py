"""What a checkpoint may hold: values that torch loads again without running code of the file.

torch's ``weights_only`` mode loads tensors, numbers, text and containers. ffcore adds NumPy arrays and
scalars, paths, dates and a few types of the standard library. All other objects are refused when the
checkpoint is written, not when it is read: the training between would be lost.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import io
import pathlib
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.serialization import safe_globals

from ffcore.errors import RunError
from ffcore.private import numpy_rebuilders

_PATHS = (pathlib.PosixPath, pathlib.PurePosixPath, pathlib.WindowsPath, pathlib.PureWindowsPath)
_TIMES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone)
_OTHERS = (complex, range, slice, frozenset, decimal.Decimal, fractions.Fraction, uuid.UUID)
_PLAIN = (type(None), bool, int, float, str, bytes, bytearray)
_TORCH = (Tensor, nn.Parameter, torch.Size, torch.device, torch.dtype)
_CONTAINERS = (dict, OrderedDict, Counter, defaultdict, list, tuple, set, frozenset, deque)
_KNOWN = frozenset((*_PATHS, *_TIMES, *_OTHERS, *_PLAIN, *_TORCH))
_SAFE = [
    *(*_PATHS, *_TIMES, *_OTHERS, *_PLAIN[1:], dict, list, tuple, set, defaultdict, deque),
    *(np.ndarray, np.dtype, *(getattr(np.dtypes, name) for name in np.dtypes.__all__)),
    *numpy_rebuilders(),
]


def loading() -> AbstractContextManager[object]:
    """Return the context in which torch loads all values that `storable` accepts."""
    return safe_globals(_SAFE)


_OPEN = object()  # of a container that is being copied
_DEPTH = 100  # levels of containers; Python pickles some 300


class _Rebuilt:
    """Is pickled as the call of a function: ``weights_only`` cannot append to other containers than lists."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def storable(checkpoint: dict[str, Any], callbacks: Sequence[L.Callback] = ()) -> dict[str, Any]:
    """Return a checkpoint in a form that loads with ``weights_only``.

    Args:
        checkpoint: made by Lightning.
        callbacks: those of the trainer, for the message.

    Raises:
        RunError: it holds an object that cannot be loaded; the message names the callback or component.
    """
    try:
        return {key: _storable(value, (key,), {}) for key, value in checkpoint.items()}
    except _RefusedError as refused:
        raise RunError(
            f"{_owner(refused.path, callbacks)}: its state {refused} and could not be loaded again; a "
            "checkpoint holds tensors, NumPy arrays, numbers, text, paths, dates, and containers of these"
        ) from refused


class _RefusedError(Exception):
    """A value cannot be stored.

    Args:
        path: where it is in the checkpoint.
        problem: continues the sentence "its state …".
    """

    def __init__(self, path: tuple[Any, ...], problem: str) -> None:
        super().__init__(problem)
        self.path = path


def _storable(value: Any, path: tuple[Any, ...], made: dict[int, Any]) -> Any:
    """Return a value with its containers copied; ``made`` has those that are copied already, by their id."""
    kind = type(value)
    if kind not in _CONTAINERS:
        if kind not in _KNOWN and not _loads(value):
            raise _RefusedError(path, f"holds {_described(value)} in {_entry(path)}")
        return value
    if id(value) in made:
        if made[id(value)] is _OPEN:
            raise _RefusedError(path, f"contains itself in {_entry(path)}")
        return made[id(value)]
    if len(path) > _DEPTH:
        raise _RefusedError(path, f"is nested more than {_DEPTH} levels deep")
    made[id(value)] = _OPEN
    copy = made[id(value)] = _copied(value, path, made)
    return copy


def _copied(value: Any, path: tuple[Any, ...], made: dict[int, Any]) -> Any:
    kind = type(value)
    if not isinstance(value, dict):
        parts = [_storable(inside, (*path, i), made) for i, inside in enumerate(value)]
        return _Rebuilt(deque, parts, value.maxlen) if kind is deque else kind(parts)
    entries = {
        _storable(key, (*path, key), made): _storable(inside, (*path, key), made)
        for key, inside in value.items()
    }
    if isinstance(value, defaultdict):
        return _Rebuilt(defaultdict, _storable(value.default_factory, path, made), entries)
    copy = kind(entries)
    if kind is OrderedDict:
        vars(copy).update(vars(value))  # torch's state_dict keeps versions in an attribute
    return copy


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "a NumPy array of objects"
    kind = type(value)
    return f"a {kind.__module__}.{kind.__qualname__}".replace("a builtins.", "a ")


def _loads(value: Any) -> bool:
    """Return whether torch saves and loads a value, such as an array or a type that the user has allowed."""
    if (isinstance(value, np.generic) or type(value) is np.ndarray) and value.dtype.kind in "biufcSU":
        return True
    file = io.BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        with loading():
            torch.load(file, weights_only=True)
    except Exception:  # torch and pickle raise errors of many types
        return False
    return True


def _entry(path: tuple[Any, ...]) -> str:
    return ".".join(str(key) for key in path[1:]) or str(path[0])


def _owner(path: tuple[Any, ...], callbacks: Sequence[L.Callback]) -> str:
    """Return the name of the callback or component that has stored the entry at ``path``."""
    first = path[0]
    if first == "callbacks" and len(path) > 1:
        return f"callback {str(path[1]).partition('{')[0]}"
    if first == "state_dict" and len(path) > 1:
        return f"component {str(path[1]).removesuffix('._extra_state')}"
    if isinstance(first, str) and (names := savers(callbacks)) and first not in _LIGHTNING:
        return f"callback {names}, on_save_checkpoint"
    return f"checkpoint entry {first!r}"


_LIGHTNING = ("epoch", "global_step", "loops", "optimizer_states", "lr_schedulers", "ffcore", "partial_epoch")


def savers(callbacks: Sequence[L.Callback]) -> str:
    """Return the names of the callbacks of others that change checkpoints."""
    return " or ".join(type(each).__name__ for each in callbacks if _adds(each))


def _adds(callback: L.Callback) -> bool:
    foreign = type(callback).__module__.partition(".")[0] not in ("ffcore", "lightning")
    return foreign and type(callback).on_save_checkpoint is not L.Callback.on_save_checkpoint
