"""The form of a data set: what a network needs to know of it to be built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ffcore.blame import reported
from ffcore.data.images import ImageSet
from ffcore.errors import FOREIGN, UserError
from ffcore.interfaces import Task
from ffcore.plugin.targets import load_target
from ffcore.tasks import Classification

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
    """

    shape: Any
    task: Task
    dtype: Any = "float32"
    superclasses: tuple[int, ...] | None = None

    @classmethod
    def of(cls, images: ImageSet) -> Form:
        """Return the form of a data set."""
        return cls(images.shape, images.target, images.dtype, images.superclasses)

    @property
    def plain(self) -> bool:
        """Whether a sample is one tensor of floats."""
        return isinstance(self.dtype, str) and self.dtype not in ("int64", "bool")

    def zeros(self) -> Any:
        """Return a few samples of zeros, for dry runs."""
        return _zeros(self.shape, self.dtype)

    def dump(self) -> dict[str, Any]:
        """Return the form as values of a checkpoint."""
        kind = type(self.task)
        task = {"kind": f"{kind.__module__}:{kind.__qualname__}", **self.task.options()}
        return {
            "shape": _lists(self.shape),
            "dtype": self.dtype,
            "task": task,
            "groups": None if self.superclasses is None else list(self.superclasses),
        }

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Form:
        """Return the form that a checkpoint holds; older ones have the classification of one float tensor.

        Raises:
            UserError: when the task cannot be made again.
        """
        task = dict(stored.get("task") or {})
        made: Any = Classification(len(stored["classes"]))
        if task:
            target = task.pop("kind")
            made = load_target(target)
            if not (isinstance(made, type) and issubclass(made, Task)):
                raise UserError(f"task: {target} is not an ffcore.interfaces.Task")
            try:
                made = made(**task)
            except FOREIGN as error:
                raise UserError(f"task: {target} cannot be made again: {reported(error)}") from error
        groups = stored.get("groups")
        shape = _tuples(stored["shape"])
        return cls(shape, made, stored.get("dtype") or "float32", None if groups is None else tuple(groups))


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
