"""Data sets of your own: arrays in an .npz file or in memory.

N samples, K classes; C channels, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from ffcore.data.digest import sha256
from ffcore.data.images import Dataset, ImageSet, Split, first_not_finite
from ffcore.data.labels import are_names, indexed
from ffcore.data.split import stratified
from ffcore.errors import UserError, expect, expect_count, first_line
from ffcore.options import FilePath, Natural
from ffcore.reading import expanded, is_text, names_of_arrays, read_arrays, size_of

__all__ = ["Arrays", "InMemory"]

REQUIRED: tuple[str, ...] = ("x_train", "y_train")
OPTIONAL = ("x_test", "y_test", "x_val", "y_val", "classes")


class InMemory(Dataset):
    """NumPy arrays, or anything that NumPy can convert, such as torch tensors on the CPU.

    Args:
        x_train: uint8 (N, H, W) with one channel or (N, C, H, W), scaled by 1/255; or floats (N, ...),
            not scaled.
        y_train: classes (N,), integers 0..K-1.
        x_test: as x_train. Without it, `test_fraction` of the training samples becomes the test split,
            stratified by class.
        y_test: as y_train.
        classes: K names; by default the indices 0..K-1.
        test_fraction: between 0 and 1.
        seed: seed of that split.
        name: name of the data set in results and errors.
        x_val: as x_train, for validation; without it a share of the training samples is used.
        y_val: as y_train.
    """

    def __init__(
        self,
        x_train: Any,
        y_train: Any,
        x_test: Any = None,
        y_test: Any = None,
        *,
        classes: Sequence[str] | None = None,
        test_fraction: float = 0.2,
        seed: int = 0,
        name: str = "arrays",
        x_val: Any = None,
        y_val: Any = None,
    ) -> None:
        self.train = (x_train, y_train)
        self.val = (x_val, y_val)
        self.test = (x_test, y_test)
        self.classes = classes
        self.test_fraction = test_fraction
        self.seed = seed
        self.name = name

    def load(self) -> ImageSet:
        """Check and convert the arrays.

        Raises:
            UserError: an array has the wrong type or shape, or non-finite values.
        """
        self._number_names()
        train = self._split("train", *self.train)
        if (self.test[0] is None) != (self.test[1] is None):
            raise UserError(f"{self.name}: give both x_test and y_test, or neither")
        test = None if self.test[0] is None else self._split("test", *self.test)
        if (self.val[0] is None) != (self.val[1] is None):
            raise UserError(f"{self.name}: give both x_val and y_val, or neither")
        val = None if self.val[0] is None else self._split("val", *self.val)
        parts = (
            {"train": train}
            | ({} if test is None else {"test": test})
            | ({} if val is None else {"val": val})
        )
        classes = self._class_names(list(parts.values()))
        if test is None:
            train, test = stratified(train, self._test_count(len(train)), self.seed, own=True)
        return ImageSet(
            name=self.name,
            train=train,
            test=test,
            classes=classes,
            scale=1 / 255 if train.x.dtype == np.uint8 else 1.0,
            provenance={
                f"{axis}_{part}": hashlib.sha256(np.ascontiguousarray(a).data).hexdigest()
                for part, split in parts.items()
                for axis, a in (("x", split.x), ("y", split.y))
            },
            val=val,
            own=True,
        )

    def _number_names(self) -> None:
        """Replace classes that are texts by their indices."""
        given = {"train": self.train, "test": self.test, "val": self.val}
        labels = {
            part: _array(f"{self.name}: y_{part}", y) for part, (_, y) in given.items() if y is not None
        }
        if "train" not in labels or not are_names(labels["train"]):
            return
        indices, self.classes = indexed(self.name, labels, self.classes)
        self.train, self.test, self.val = ((x, indices.get(part, y)) for part, (x, y) in given.items())

    def _split(self, part: str, x: Any, y: Any) -> Split:
        samples = _samples(f"{self.name}: x_{part}", x)
        labels = _array(f"{self.name}: y_{part}", y)
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise UserError(
                f"{self.name}: y_{part} is {labels.dtype} {labels.shape}; it must be integers (N,), 0..K-1"
            )
        if len(samples) != len(labels) or len(samples) == 0:
            raise UserError(f"{self.name}: {part} has {len(samples)} samples and {len(labels)} labels")
        return Split(samples, labels.astype(np.int64))

    def _class_names(self, parts: Sequence[Split]) -> tuple[str, ...]:
        if self.classes is not None:
            return _names(self.name, self.classes)
        largest, smallest = max(int(p.y.max()) for p in parts), min(int(p.y.min()) for p in parts)
        if smallest > 0:  # one class more than there are labels, which no sample has
            raise UserError(
                f"{self.name}: the labels are {smallest} to {largest}; number the classes from 0, "
                f"such as y - {smallest}, or name all of them in `classes`"
            )
        if largest >= len(parts[0]):  # probably IDs instead of class indices
            raise UserError(
                f"{self.name}: a label is {largest}, but there are only {len(parts[0])} training samples; "
                "number the classes 0..K-1, or name them in `classes`"
            )
        trained = int(parts[0].y.max())
        if largest > trained:
            raise UserError(
                f"{self.name}: a label of the other splits is {largest}, but those of y_train are 0 to "
                f"{trained}; name all classes in `classes` if one has no training samples"
            )
        return tuple(str(k) for k in range(largest + 1))

    def _test_count(self, n: int) -> int:
        expect("test_fraction", self.test_fraction, (int, float), "a number between 0 and 1")
        expect_count("seed", self.seed, 0)
        count = round(self.test_fraction * n) if math.isfinite(self.test_fraction) else 0
        if not 0 < count < n:
            raise UserError(
                f"{self.name}: test_fraction={self.test_fraction} of {n} samples leaves an empty split"
            )
        return count


class Arrays(Dataset):
    """An .npz file with x_train, y_train and, optionally, the same of val and test, and classes.

    See `InMemory`. Classes may be texts.

    Args:
        path: path of the file.
        test_fraction: share of the training samples that becomes the test split if the file has none.
        seed: seed of that split.
    """

    def __init__(
        self, path: FilePath, test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2, seed: Natural = 0
    ) -> None:
        self.path = path
        self.test_fraction = test_fraction
        self.seed = seed
        self.required = REQUIRED

    def load(self) -> ImageSet:
        """Read the file.

        Raises:
            UserError: the file is missing or not an .npz file, or an array is missing or not valid for
                `InMemory`.
        """
        path = expanded(self.path)
        if not path.exists():
            raise UserError(f"{path}: no such file; set data.path to an .npz file")
        size_of(path)  # `is_zipfile` would wait for a writer of a named pipe
        if not zipfile.is_zipfile(path):
            raise UserError(f"{path}: not an .npz file; numpy.savez writes them")
        stored = names_of_arrays(path)
        if missing := [key for key in self.required if key not in stored]:
            raise UserError(f"{path}: has no {' and no '.join(missing)}; it has {', '.join(stored)}")
        known = read_arrays(path, REQUIRED + OPTIONAL)  # others may be of any type: they are not read
        # the path as name, so that errors name the file; the name of the data set replaces it below
        loaded = self._of_arrays(str(path), known)
        # names that UTF-8 cannot store would not get into the results
        stem, file = (os.fsencode(text).decode(errors="replace") for text in (path.stem, path.name))
        return replace(loaded, name=stem, provenance={file: sha256(path)})

    def _of_arrays(self, name: str, known: Mapping[str, Any]) -> ImageSet:
        """Return the data set of the arrays of a file."""
        how: dict[str, Any] = {"test_fraction": self.test_fraction, "seed": self.seed}
        return InMemory(**known, **how, name=name).load()


def _names(data: str, classes: Any) -> tuple[str, ...]:
    """Returns the names of classes, which may be strings, bytes or numbers."""
    if isinstance(classes, str | bytes) or np.ndim(classes) != 1:
        shown = " ".join(repr(classes).split())[:99]
        raise UserError(f"{data}: classes should be a list of names, one for each class, not {shown}")
    names = []
    for name in classes:
        try:
            text = name.decode() if isinstance(name, bytes) else str(name)
        except UnicodeDecodeError as error:
            raise UserError(f"{data}: the class name {name!r} is not in UTF-8") from error
        if not is_text(text):
            raise UserError(f"{data}: the class name {text!a} is not text that UTF-8 can store")
        names.append(text)
    return tuple(names)


def _samples(what: str, value: Any) -> np.ndarray:
    x = _array(what, value)
    if x.dtype.kind == "f" and x.ndim >= 2:
        with np.errstate(over="ignore"):  # overflows to inf, which raises below
            x = x.astype(np.float32)
        if not np.isfinite(x).all():
            first = first_not_finite(x)
            raise UserError(f"{what}: sample {first} has values that are not finite (NaN or infinite)")
        if _channels_last(x.shape):
            raise UserError(_TRANSPOSE.format(what=what, shape=x.shape))
        return x
    if x.dtype == np.uint8 and x.ndim == 3:
        return x[:, None]
    if x.dtype == np.uint8 and x.ndim == 4:
        if x.shape[1] > 4 >= x.shape[3]:  # images have at most 4 channels
            raise UserError(_TRANSPOSE.format(what=what, shape=x.shape))
        return x
    tokens = "; for tokens set data.task" if x.dtype.kind in "iu" else ""
    raise UserError(
        f"{what} is {x.dtype} {x.shape}; it must be uint8 (N, H, W) or (N, C, H, W), or floats (N, "
        f"...){tokens}"
    )


_TRANSPOSE = "{what} is {shape}, channels last; it must be (N, C, H, W): transpose(0, 3, 1, 2)"


def _channels_last(shape: tuple[int, ...]) -> bool:
    """Whether floats (N, ...) look like images (N, H, W, C), as (N, 64, 4, 4) does not."""
    return len(shape) == 4 and shape[1] == shape[2] > 4 and shape[3] in (1, 3, 4)


def _array(what: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except Exception as error:  # ragged lists; tensors on a GPU or with requires_grad; any `__array__`
        raise UserError(f"{what} is not an array: {first_line(error)}") from error


class Given(Dataset):
    """Placeholder in ``config.yaml`` for data that a script gave from Python. It cannot be read again.

    Args:
        name: the name that the script gave to the data set.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self) -> ImageSet:
        """Raise an error.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"data: the data set {self.name!r} was given from Python; name files instead, such as "
            "data.kind=arrays data.path=FILE.npz, or run the script again"
        )
