"""The form of a data set: what a network needs to know of it to be built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ffcore.data.images import ImageSet
from ffcore.errors import UserError
from ffcore.interfaces import Task
from ffcore.interfaces.structure import mapped
from ffcore.parts import part
from ffcore.plugin.manager import current
from ffcore.tasks import Classification
from ffcore.trust import trusted

_ROWS = 2


@dataclass(frozen=True)
class Form:
    """Shape and type of the samples, and the task.

    Attributes:
        shape: shape of one sample; of several inputs a tuple or mapping of shapes.
        task: what the targets are.
        dtype: name of the stored type of a sample, in the structure of ``shape``: floats and bytes become
            floats, "int64" and "bool" stay.
        superclasses: super-class of each class, or None.
        largest: largest integer of all samples: a dry run then meets a vocabulary that is too small.
        smallest: smallest integer of all samples, for tokens below 0.
    """

    shape: Any
    task: Task
    dtype: Any = "float32"
    superclasses: tuple[int, ...] | None = None
    largest: int = 0
    smallest: int = 0

    @classmethod
    def of(cls, images: ImageSet) -> Form:
        """Return the form of a data set."""
        smallest, largest = images.ends
        return cls(images.shape, images.target, images.dtype, images.superclasses, largest, smallest)

    @property
    def plain(self) -> bool:
        """Whether a sample is one tensor of floats."""
        return isinstance(self.dtype, str) and self.dtype not in ("int64", "bool")

    def example(self) -> Any:
        """Return two samples for dry runs: floats of 0, integers of the largest and of the smallest value."""
        return mapped(_zeros(self.shape, self.dtype), self._ends)

    def _ends(self, t: Tensor) -> Tensor:
        if t.dtype == torch.int64:
            t[0], t[1] = self.largest, self.smallest
        return t

    def dump(self) -> dict[str, Any]:
        """Return the form as values of a checkpoint."""
        return {
            "shape": _lists(self.shape),
            "dtype": self.dtype,
            "task": _dumped(self.task),
            "groups": None if self.superclasses is None else list(self.superclasses),
        }

    @classmethod
    def read(cls, stored: Mapping[str, Any], task: Task | None = None) -> Form:
        """Return the form that a checkpoint holds; older ones have the classification of one float tensor.

        Args:
            stored: values from `dump`.
            task: the task of a network that is given; None to make the stored one again.

        Raises:
            UserError: when the task cannot be made again.
        """
        known = stored.get("task")
        if known is None:
            task = Classification(len(stored["classes"]))
        elif task is None:
            task = _made(known)
        groups = stored.get("groups")
        shape = _tuples(stored["shape"])
        return cls(shape, task, stored.get("dtype") or "float32", None if groups is None else tuple(groups))


def _dumped(task: Task) -> dict[str, Any] | None:
    """Return kind and options of a task; None for the classification of samples."""
    kind = type(task)
    if kind is Classification:
        return None
    target = f"{kind.__module__}:{kind.__qualname__}"
    entries = current().registry.entries("task")
    names = (entry.name for entry in entries if entry.target in (target, kind))
    return {"kind": next(names, target), **task.options()}


def _made(stored: Mapping[str, Any]) -> Task:
    kind = stored.get("kind")
    registered = {entry.name for entry in current().registry.entries("task")}
    # a checkpoint must not choose a module to import
    if kind not in registered and not trusted():
        raise UserError(
            f"task: the checkpoint's {kind!r} is not a registered task; install its plugin, or give the "
            "network of the run as net="
        )
    made: Task = part("task", dict(stored))
    return made


def _zeros(shape: Any, dtype: Any) -> Any:
    if isinstance(dtype, Mapping):
        return {name: _zeros(shape[name], each) for name, each in dtype.items()}
    if isinstance(dtype, tuple | list):
        return tuple(_zeros(*pair) for pair in zip(shape, dtype, strict=True))
    kind = {"int64": torch.int64, "bool": torch.bool}.get(dtype, torch.float32)
    return torch.zeros(_ROWS, *shape, dtype=kind)


def _lists(shape: Any) -> Any:
    if isinstance(shape, Mapping):
        return {name: _lists(each) for name, each in shape.items()}
    return [_lists(each) if isinstance(each, tuple | list) else int(each) for each in shape]


def _tuples(shape: Any) -> Any:
    if isinstance(shape, Mapping):
        return {name: _tuples(each) for name, each in shape.items()}
    return tuple(_tuples(each) if isinstance(each, tuple | list) else each for each in shape)
