"""Samples and targets that a program gives: arrays, tensors, torch data sets, loaders and data modules.

N samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ffcore.data.images import Dataset, ImageSet, Split, arrays
from ffcore.data.split import parted, stratified
from ffcore.errors import UserError, first_line
from ffcore.interfaces import Task
from ffcore.interfaces.structure import mapped
from ffcore.tasks import Classification

Scale = Literal["none", "inputs", "all"]
"""What to standardise column by column: nothing, the inputs, or inputs and real-valued targets."""

Samples = Any
"""A pair of arrays or tensors (x, y), or a torch data set or loader of such pairs."""


def read(what: str, data: Samples, task: Task) -> Split:
    """Return samples and targets, read into memory.

    Args:
        what: a name for messages, such as "train".
        data: a pair (x, y), or a torch data set or loader of such pairs or of mappings with "x" and "y", or
            another object with a length and items. Without targets x alone will do.
        task: what the targets are.

    Raises:
        UserError: it is something else, or types or lengths do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a loader that shuffles, or a set with random views, gives the same every time
        try:
            x, y = _read(what, data, unlabelled=task.target == "none")
        except UserError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:  # lengths that differ, texts
            line = first_line(error)
            raise UserError(
                f"{what}: samples or targets are not numbers of equal shapes: {line}; pad sequences to one "
                "length"
            ) from error
    x = mapped(x, lambda each: _of_samples(what, each))
    y = of_targets(y, task, len(next(arrays(x))))
    for each in arrays(x):
        if not each.ndim or y.shape[:1] != each.shape[:1]:
            sort = "classes" if type(task) is Classification else "targets"
            raise UserError(
                f"{what}: samples {each.shape} and {sort} {y.shape}; one for each sample is needed"
            )
    return Split(x, y)


def _read(what: str, data: Samples, unlabelled: bool) -> tuple[Any, Any]:
    if unlabelled and isinstance(data, np.ndarray | Tensor | Mapping):
        x, y = mapped(data, _array), None
    elif isinstance(data, tuple | list) and len(data) == 2:
        x = _array(data[0]) if _nested(data[0]) else mapped(data[0], _array)
        y = None if unlabelled else _array(data[1])
    elif isinstance(data, DataLoader):
        x, y = _joined(what, iter(data), torch.cat, unlabelled)
    elif _has_items(data):
        x, y = _joined(what, (data[i] for i in range(len(data))), torch.stack, unlabelled)
    else:
        given = f"{len(data)} parts" if isinstance(data, tuple | list) else type(data).__name__
        raise UserError(f"{what}: should be a pair (x, y), a loader or a data set with a length, not {given}")
    return x, y


def _nested(x: Any) -> bool:
    """Return whether samples are a list of numbers or of lists, not of arrays."""
    return isinstance(x, list) and bool(x) and isinstance(x[0], list | int | float)


def _has_items(data: Any) -> bool:
    """Return whether data are a data set with a length and items, of torch or of another library."""
    plain = isinstance(data, tuple | list | Mapping | str | np.ndarray | Tensor)
    return not plain and hasattr(data, "__len__") and hasattr(data, "__getitem__")


class Held(Dataset):
    """Splits in memory, with any task.

    Args:
        train: training samples.
        test: test samples.
        task: what the targets are.
        classes: names of the K classes, labels or values; None for their indices.
        name: name of the data set.
        val: validation samples; None to split them off the training samples.
        scale: what a run standardises column by column.
    """

    def __init__(
        self,
        train: Split,
        test: Split,
        task: Task,
        classes: tuple[str, ...] | None = None,
        name: str = "arrays",
        val: Split | None = None,
        scale: Scale = "none",
    ) -> None:
        self.scale: Scale = scale
        self.train, self.test, self.val = train, test, val
        self.task, self.classes, self.name = task, classes, name

    def load(self) -> ImageSet:
        """Return the data set, with the checksums of its arrays."""
        parts = {"train": self.train, "test": self.test} | ({} if self.val is None else {"val": self.val})
        return ImageSet(
            name=self.name,
            train=self.train,
            test=self.test,
            classes=self.classes or tuple(str(k) for k in range(self.task.columns)),
            scale=1 / 255 if _is_bytes(self.train.x) else 1.0,
            provenance={
                f"{axis}_{name}": _checksum(a) for name, part in parts.items() for axis, a in _axes(part)
            },
            val=self.val,
            task=None if type(self.task) is Classification else self.task,
            by_column=self.scale,
            own=True,
        )


def divided(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Split a random share of the samples off. Returns (the others, the share), in stored order.

    Raises:
        UserError: when nothing would be left on a side.
    """
    return parted(split, _count(split, share), seed, own=True)


def by_class(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Split a random share of each class off; see `divided`."""
    return stratified(split, _count(split, share), seed, own=True)


def _count(split: Split, share: float) -> int:
    count = round(share * len(split))
    if not 0 < count < len(split):
        raise UserError(f"test_fraction={share} of {len(split)} samples leaves an empty split")
    return count


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)


def _joined(what: str, pairs: Any, join: Callable[[Any], Tensor], unlabelled: bool) -> tuple[Any, Any]:
    loaded = [_pair(each, unlabelled) for each in pairs]
    if unlabelled and loaded:
        alone = [pair[0] if isinstance(pair, tuple | list) else pair for pair in loaded]
        return _columns(alone, join), None
    if not loaded or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in loaded):
        given = type(loaded[0]).__name__ if loaded else "nothing"
        more = f" of {len(loaded[0])}" if loaded and isinstance(loaded[0], tuple | list) else ""
        if loaded and isinstance(loaded[0], Mapping):
            more = f" with {', '.join(map(str, loaded[0]))}"
        raise UserError(f"{what}: should give pairs (x, y), or mappings with x and y, not {given}{more}")
    return tuple(_columns([pair[i] for pair in loaded], join) for i in range(2))


def _pair(given: Any, unlabelled: bool) -> Any:
    """Return a pair of a mapping with "x" and "y"; x alone will do without targets."""
    if isinstance(given, Mapping) and "x" in given and (unlabelled or "y" in given):
        return (given["x"], given.get("y"))
    return given


def _columns(column: list[Any], join: Callable[[Any], Tensor]) -> Any:
    """Join the parts of a column, which may be tuples or mappings of tensors, or texts."""
    if isinstance(column[0], str):
        return np.array(column)
    if isinstance(column[0], tuple | list) and column[0] and isinstance(column[0][0], str):
        return np.array([text for batch in column for text in batch])
    if isinstance(column[0], Mapping):
        return {name: _columns([each[name] for each in column], join) for name in column[0]}
    if isinstance(column[0], tuple | list):  # a loader collates tuples into lists
        return tuple(_columns([each[i] for each in column], join) for i in range(len(column[0])))
    return join([torch.as_tensor(each) for each in column]).cpu().numpy()


def _of_samples(what: str, x: np.ndarray) -> np.ndarray:
    if x.dtype == np.float64:
        return x.astype(np.float32)
    if x.dtype.kind in "iu" and x.dtype != np.uint8:
        return x.astype(np.int64)
    if x.dtype not in (np.uint8, np.float32, np.bool_):
        raise UserError(f"{what}: samples are {x.dtype}; a run takes floats, bytes or integers")
    return x


def of_targets(y: np.ndarray | None, task: Task, samples: int) -> np.ndarray:
    """Return targets as they are stored: float32 real numbers, int64 classes and labels; (N, 0) of none."""
    if y is None or task.target == "none":
        return np.zeros((samples, 0), dtype=np.float32)
    if task.target == "values":
        if y.dtype.kind not in "iuf":
            raise UserError(f"y: should be real numbers, not {y.dtype}")
        return y.astype(np.float32)
    return y.astype(np.int64) if y.dtype.kind in "iub" else y


def _is_bytes(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == np.uint8


def _axes(split: Split) -> list[tuple[str, np.ndarray]]:
    several = list(arrays(split.x))
    names = ["x"] if len(several) == 1 else [f"x{i}" for i in range(len(several))]
    return [*zip(names, several, strict=True), ("y", split.y)]


def _checksum(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
