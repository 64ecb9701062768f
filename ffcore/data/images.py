"""The data set that every reader returns: samples with targets, and their description.

N samples, K classes; C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ffcore.errors import UserError, expect
from ffcore.reading import is_text

if TYPE_CHECKING:
    from ffcore.data.encoding import Encoding
    from ffcore.interfaces import Task

__all__ = ["Dataset", "ImageSet", "Split"]


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their targets.

    Attributes:
        x: uint8 images (N, C, H, W), float32 samples (N, ...), or int64 samples (N, ...), such as tokens. For
            models with several inputs a tuple or mapping of such arrays, also bool.
        y: targets of the task: int64 classes (N,).
    """

    x: Any
    y: np.ndarray

    def __len__(self) -> int:
        return len(next(arrays(self.x)))

    def take(self, index: np.ndarray) -> Split:
        """Returns a copy of the samples at the positions `index` (n,)."""
        return Split(mapped(self.x, lambda each: each[index]), self.y[index])

    @classmethod
    def joined(cls, splits: Sequence[Split]) -> Split:
        """Returns the samples of all splits, one after the other."""
        return cls(_joined([split.x for split in splits]), np.concatenate([split.y for split in splits]))


def _joined(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Mapping):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple | list):
        return tuple(_joined(each) for each in zip(*parts, strict=True))
    return np.concatenate(parts)


def mapped(x: Any, change: Callable[[np.ndarray], Any]) -> Any:
    """Apply a function to each array of samples; return the results in the same structure."""
    if isinstance(x, Mapping):
        return {name: mapped(each, change) for name, each in x.items()}
    if isinstance(x, tuple | list):
        return tuple(mapped(each, change) for each in x)
    return change(x)


def arrays(x: Any) -> Iterator[np.ndarray]:
    """Yield the arrays of samples: one, or those of a tuple or mapping."""
    if isinstance(x, Mapping):
        x = tuple(x.values())
    if isinstance(x, tuple | list):
        for each in x:
            yield from arrays(each)
    else:
        yield x


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set in memory, checked on construction.

    Attributes:
        name: name of the data set in results.
        train: training samples.
        test: test samples, which must not be used for tuning.
        classes: K names, by class index; of another task, the names of its labels, values or tokens.
        scale: a stored value times `scale` is in [0, 1]; 1.0 for floats, which are not scaled.
        provenance: origin of the data: file name to sha256, or package to version.
        superclasses: (K,) super-class of each class, from 0; None if the data set has no super-classes.
        val: validation samples; None to split them off the training samples.
        task: what the targets are; None for the classification of samples.
        by_column: what is standardised column by column, for samples (N, D): "none", "inputs", or "all",
            which is also targets of real numbers.
        encoding: how a table or texts became inputs; None for other data.
        own: whether samples are the user's own; see `ffcore.data.split.permutation`.

    Raises:
        UserError: a split is empty, labels do not fit the samples or the classes, splits differ in shape or
            type, or super-classes do not fit the classes.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    scale: float
    provenance: Mapping[str, str]
    superclasses: tuple[int, ...] | None = None
    val: Split | None = None
    task: Task | None = None
    by_column: Literal["none", "inputs", "all"] = "none"
    encoding: Encoding | None = None
    own: bool = False

    def __post_init__(self) -> None:
        expect(f"{self.name}, scale", self.scale, (int, float, np.floating), "a positive number")
        if not 0 < self.scale < math.inf:
            raise UserError(f"{self.name}, scale: should be a positive number, not {self.scale}")
        for name in self.classes:
            if not isinstance(name, str) or not is_text(name):
                raise UserError(f"{self.name}, classes: {name!a} is not text that UTF-8 can store")
        if not isinstance(self.provenance, Mapping) or not all(
            isinstance(text, str) and is_text(text) for pair in self.provenance.items() for text in pair
        ):
            right = "a mapping from names of files to checksums"
            raise UserError(f"{self.name}, provenance: should be {right}, not {self.provenance!r}")
        if self.task is not None and self.task.columns != self.num_classes:
            raise UserError(
                f"{self.name}: the task has {self.task.columns} columns, but classes has "
                f"{self.num_classes} names"
            )
        if self.by_column != "none" and (not isinstance(self.train.x, np.ndarray) or self.train.x.ndim != 2):
            raise UserError(f"{self.name}: scale: samples are not rows of features (N, D); set it to none")
        _check(f"{self.name}, train", self.train, self.num_classes, self.task)
        _check(f"{self.name}, test", self.test, self.num_classes, self.task)
        # validation first: `ffcore.fit` without test samples gives the same samples as both
        others = ({} if self.val is None else {"validation": self.val}) | {"test": self.test}
        if self.val is not None:
            _check(f"{self.name}, validation", self.val, self.num_classes, self.task)
        for what, split in others.items():
            expected, actual = (str(form(s.x)) for s in (self.train, split))
            if expected != actual:
                raise UserError(f"{self.name}: train samples are {expected} but {what} samples are {actual}")
        if self.superclasses is not None and (
            not all(isinstance(each, Integral) for each in self.superclasses)
            or len(self.superclasses) != self.num_classes
            or min(self.superclasses) < 0
        ):
            raise UserError(
                f"{self.name}: superclasses are {self.superclasses}; they must be {self.num_classes} numbers "
                "from 0, one for each class"
            )

    @property
    def shape(self) -> Any:
        """Shape of one sample, (C, H, W) for images; of several inputs a tuple or mapping of shapes."""
        return mapped(self.train.x, lambda each: each.shape[1:])

    @property
    def dtype(self) -> Any:
        """Name of the stored type of a sample, such as "uint8"; a tuple or mapping of several inputs."""
        return mapped(self.train.x, lambda each: each.dtype.name)

    @cached_property
    def ends(self) -> tuple[int, int]:
        """The smallest and the largest integer of all samples, such as tokens; 0 where there are none."""
        splits = [split for split in (self.train, self.val, self.test) if split is not None]
        whole = [x for split in splits for x in arrays(split.x) if x.dtype == np.int64]
        smallest = min((int(x.min()) for x in whole), default=0)
        return smallest, max((int(x.max()) for x in whole), default=0)

    @property
    def target(self) -> Task:
        """What the targets are."""
        from ffcore.tasks import Classification  # imported here: the readers of images need no torch

        return Classification(self.num_classes) if self.task is None else self.task

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.classes)


class Dataset(ABC):
    """Reads one `ImageSet`. The constructor's arguments are the options of a recipe.

    ``has_superclasses`` states that the classes have super-classes, before the data are read.
    """

    has_superclasses: ClassVar[bool] = False

    def peek(self) -> tuple[tuple[int, ...], int] | None:
        """Returns shape of one sample and number of classes, if both are known without reading files.

        None also for a task other than one class a sample.
        """
        return None

    def encoded_as(self, encoding: Encoding) -> Dataset:
        """Returns a reader that encodes samples as in a run's training; of arrays the same one."""
        return self

    @abstractmethod
    def load(self) -> ImageSet:
        """Read the data set into memory.

        Raises:
            UserError: the data set is missing or damaged.
        """


def form(x: Any) -> Any:
    """Return shape and dtype of one sample as text, in the structure of the samples."""
    return mapped(x, lambda each: f"{each.shape[1:]} {each.dtype}")


def first_not_finite(x: np.ndarray) -> int:
    """Return the index of the first sample that has a value which is NaN or infinite."""
    return next(i for i, sample in enumerate(x) if not np.isfinite(sample).all())


def _check(what: str, split: Split, classes: int, task: Task | None) -> None:
    y = split.y
    known = (np.uint8, np.float32, np.int64)
    several = not isinstance(split.x, np.ndarray)
    for x in arrays(split.x):
        if x.dtype not in (*known, np.bool_) or (x.dtype == (np.uint8 if several else np.bool_)):
            right = "float32, int64 or bool" if several else "uint8, float32 or int64"
            raise UserError(f"{what}: samples are {x.dtype}; they must be {right}")
        if len(x) != len(y):
            raise UserError(f"{what}: {len(x)} samples but {len(y)} labels")
        if len(x) == 0:
            raise UserError(f"{what}: no samples")
        if x.size == 0:
            raise UserError(f"{what}: samples of shape {x.shape[1:]} have no values")
        if x.dtype == np.float32 and not (np.isfinite(x.min()) and np.isfinite(x.max())):
            raise UserError(
                f"{what}: sample {first_not_finite(x)} has values that are not finite (NaN or infinite); "
                "fill them in; a mask can be a further input"
            )
    if task is not None:
        _check_targets(what, y, task)
        return
    if y.dtype != np.int64 or y.ndim != 1:
        raise UserError(f"{what}: labels are {y.dtype} {y.shape}; they must be int64 (N,)")
    if y.min() < 0 or y.max() >= classes:
        raise UserError(f"{what}: labels are {y.min()} to {y.max()}; they must be in 0..{classes - 1}")


def _check_targets(what: str, y: np.ndarray, task: Task) -> None:
    import torch  # imported here: the readers of images need none

    from ffcore.interfaces.task import IGNORED

    if task.features is not None and y.size and (y == IGNORED).all():
        raise UserError(f"{what}: no position has a target: all are {IGNORED}")
    try:
        task.refuse(torch.from_numpy(np.require(y, requirements=["C", "W"])), len(y))
    except (UserError, TypeError) as error:  # TypeError: torch has no such dtype, as of text
        raise UserError(f"{what}: {error}") from error
