"""What every reader returns: two labelled splits and what is known about them.

N samples, K classes; C channels, H rows, W columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ffcore.errors import UserError

__all__ = ["Dataset", "ImageSet", "Split"]


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their classes.

    Attributes:
        x: uint8 images (N, C, H, W), or float32 samples (N, ...).
        y: int64 classes (N,).
    """

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: np.ndarray) -> Split:
        """The samples at the positions `index` (n,), copied."""
        return Split(self.x[index], self.y[index])


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set in memory, checked on construction.

    Attributes:
        name: what the set is called in results.
        train: the samples to learn from.
        test: the samples nothing may be tuned on.
        classes: K names, by class number.
        scale: a stored value times `scale` lies in [0, 1]; 1.0 for floats, which are taken as they are.
        provenance: where the numbers came from: file name to sha256, or package to version.
        superclasses: (K,) super-class of each class, from 0, where the set has such.
        val: samples for validation, where the set has such; None: they are cut off the training samples.

    Raises:
        UserError: an empty split, labels that do not fit the samples or the classes, splits that differ, or
            super-classes that do not fit the classes.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    scale: float
    provenance: Mapping[str, str]
    superclasses: tuple[int, ...] | None = None
    val: Split | None = None

    def __post_init__(self) -> None:
        _check(f"{self.name}, train", self.train, self.num_classes)
        _check(f"{self.name}, test", self.test, self.num_classes)
        others = {"test": self.test} | ({} if self.val is None else {"validation": self.val})
        if self.val is not None:
            _check(f"{self.name}, validation", self.val, self.num_classes)
        for what, split in others.items():
            ours, theirs = (f"{s.x.shape[1:]} {s.x.dtype}" for s in (self.train, split))
            if ours != theirs:
                raise UserError(f"{self.name}: train samples are {ours} but {what} samples are {theirs}")
        if self.superclasses is not None and (
            len(self.superclasses) != self.num_classes or min(self.superclasses) < 0
        ):
            raise UserError(
                f"{self.name}: superclasses are {self.superclasses}; they must be {self.num_classes} numbers "
                "from 0, one for each class"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample, (C, H, W) for images."""
        return self.train.x.shape[1:]

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)


class Dataset(ABC):
    """A source of one `ImageSet`; constructor arguments are plain values, as a recipe writes them.

    ``has_superclasses`` says that its classes have super-classes, which only reading it tells.
    """

    has_superclasses: ClassVar[bool] = False

    def peek(self) -> tuple[tuple[int, ...], int] | None:
        """Shape of one sample and number of classes, where both are known without reading anything."""
        return None

    @abstractmethod
    def load(self) -> ImageSet:
        """Read the set into memory.

        Raises:
            UserError: the set is missing or damaged.
        """


def _check(what: str, split: Split, classes: int) -> None:
    x, y = split.x, split.y
    if x.dtype not in (np.uint8, np.float32):
        raise UserError(f"{what}: samples are {x.dtype}; they must be uint8 or float32")
    if y.dtype != np.int64 or y.ndim != 1:
        raise UserError(f"{what}: labels are {y.dtype} {y.shape}; they must be int64 (N,)")
    if len(x) != len(y):
        raise UserError(f"{what}: {len(x)} samples but {len(y)} labels")
    if len(x) == 0:
        raise UserError(f"{what}: no samples")
    if y.min() < 0 or y.max() >= classes:
        raise UserError(f"{what}: labels run from {y.min()} to {y.max()}; they must lie in 0..{classes - 1}")
