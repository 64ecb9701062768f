"""Data sets of Hugging Face's library `datasets`, from a directory that its ``save_to_disk`` has written.

N samples; T tokens of a sequence.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from ffcore.data.digest import sha256
from ffcore.data.encoding import Encoding
from ffcore.data.given import Scale
from ffcore.data.images import Dataset, ImageSet
from ffcore.data.python import PythonData
from ffcore.data.table_file import refuse_columns
from ffcore.data.text_encoding import TextEncoding, padded, tokens_of
from ffcore.errors import UserError, first_line
from ffcore.interfaces import Task
from ffcore.interfaces.task import IGNORED
from ffcore.options import ByName, FilePath, Natural, Size
from ffcore.parts import part
from ffcore.reading import expanded

_SPLITS = {"train": "train", "validation": "val", "val": "val", "valid": "val", "dev": "val", "test": "test"}


class HuggingFace(Dataset):
    """A data set on disk, or a dictionary of the splits train, validation and test.

    Needs ``pip install ffcore[huggingface]``. Columns may hold numbers, lists of numbers, images or texts. A
    text becomes the tokens byte + 1, so that 0 is free for padding (257 tokens). Lists of integers and texts
    of different lengths are padded. Several columns of numbers become one row (N, D).

    Args:
        path: the directory.
        inputs: name of the column of inputs, or several.
        target: name of the column of targets; several for several numbers or labels; null for the task none.
        task: what the targets are; null: one class a sample, of integers or texts.
        length: T; longer sequences are cut; null: that of the longest one of all splits.
        padding: the token that fills shorter sequences; targets of such positions are −100.
        scale: what a run standardises column by column; see `PythonData`.
        test_fraction: share of the training samples that becomes the test split if there is none.
        seed: seed of that split.
    """

    def __init__(
        self,
        path: FilePath,
        inputs: str | Sequence[str],
        target: str | Sequence[str] | None,
        task: Task | ByName | None = None,
        length: Size | None = None,
        padding: Natural = 0,
        scale: Scale = "none",
        test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        seed: Natural = 0,
    ) -> None:
        self.path = path
        self.inputs = [inputs] if isinstance(inputs, str) else list(inputs)
        self.targets = [target] if isinstance(target, str) else list(target or ())
        self.task: Task | None = None if task is None else part("task", task)
        self.length, self.padding = length, padding
        self.scale: Scale = scale
        self.test_fraction, self.seed = test_fraction, seed
        self.classes: tuple[str, ...] | None = None

    def load(self) -> ImageSet:
        """Read the data set.

        Raises:
            UserError: the directory is missing or holds something else, a column is missing, or values do not
                fit.
        """
        path = expanded(self.path)
        splits = _read(path)
        read = {name: self._columns(f"{path}, {name}", split) for name, split in splits.items()}
        of_inputs = [column[name] for column in read.values() for name in self.inputs]
        length = self.length or max(map(_longest, of_inputs)) or None
        parts = {
            name: (
                self._inputs(f"{path}, {name}", columns, length),
                self._targets(f"{path}, {name}", columns, length, splits[name]),
            )
            for name, columns in read.items()
        }
        feature = splits["train"].features[self.targets[0]] if self.targets else None
        classes = self.classes or getattr(feature, "names", None)

        def of_splits() -> dict[str, Any]:
            return {**parts, "classes": classes}

        of_splits.__name__ = str(path)  # in messages
        made = PythonData(
            of_splits,
            task=self.task,
            scale=self.scale,
            test_fraction=self.test_fraction,
            seed=self.seed,
        ).load()
        files = sorted(path.rglob("*.arrow"))
        provenance = {file.relative_to(path).as_posix(): sha256(file) for file in files}
        encoding = None
        if length is not None and _are_texts(splits["train"][self.inputs[0]][:1]):
            of_classes = made.classes if made.task is None else None
            encoding = TextEncoding(self.inputs[0], length, self.padding, of_classes)
        return replace(made, name=path.name, provenance=provenance, encoding=encoding)

    def encoded_as(self, encoding: Encoding) -> HuggingFace:
        """Return a reader of the same directory with the length and classes of a run's training."""
        made = copy.copy(self)
        if isinstance(encoding, TextEncoding):
            made.length, made.padding, made.classes = encoding.length, encoding.padding, encoding.classes
        return made

    def _columns(self, what: str, split: Any) -> dict[str, list[Any]]:
        """Return the columns as lists; inputs of text as lists of tokens."""
        refuse_columns(what, split.column_names, [*self.inputs, *self.targets])
        columns = {name: split[name][:] for name in (*self.inputs, *self.targets)}
        for name, values in columns.items():
            if any(value is None for value in values):
                row = next(i for i, value in enumerate(values) if value is None)
                raise UserError(f"{what}: row {row} of column {name!r} is empty")
        texts = [name for name in self.inputs if _are_texts(columns[name])]
        return columns | {name: [tokens_of(text) for text in columns[name]] for name in texts}

    def _inputs(self, what: str, columns: dict[str, list[Any]], length: int | None) -> np.ndarray:
        made = [_array(what, name, columns[name], length, self.padding) for name in self.inputs]
        return _side_by_side(what, self.inputs, made)

    def _targets(
        self, what: str, columns: dict[str, list[Any]], length: int | None, split: Any
    ) -> np.ndarray | None:
        """Return the targets; classes are texts if they have to be those of a run's training."""
        if not self.targets:
            return None
        first = columns[self.targets[0]]
        if len(self.targets) == 1 and _are_texts(first):
            return np.array(first)
        names = getattr(split.features[self.targets[0]], "names", None)
        if self.classes is not None and names and min(first) >= 0:
            return np.array(names)[first]
        by_position = self.task is not None and self.task.features is not None
        made = [
            _array(what, name, columns[name], length if by_position else None, IGNORED)
            for name in self.targets
        ]
        return _side_by_side(what, self.targets, made)


def _array(what: str, name: str, values: list[Any], length: int | None, fill: int) -> np.ndarray:
    """Return a column as an array, with sequences of tokens padded to one length."""
    if values and all(map(_is_tokens, values)) and length is not None:
        return padded(f"{what}, column {name!r}", values, length, fill)
    if values and hasattr(values[0], "convert"):  # an image of Pillow
        values = [_pixels(value) for value in values]
    try:
        return np.asarray(values)
    except ValueError as error:  # of different lengths
        line = first_line(error)
        raise UserError(f"{what}: values of column {name!r} have different shapes: {line}") from error


def _longest(values: list[Any]) -> int:
    """Return the length of the longest sequence of tokens of a column; 0 if there are none."""
    return max((len(value) for value in values if _is_tokens(value)), default=0)


def _are_texts(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, int) for each in value)


def _pixels(image: Any) -> np.ndarray:
    """Return an image (C, H, W) of bytes, grey or in three colours."""
    made = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"), dtype=np.uint8)
    return made[None] if made.ndim == 2 else made.transpose(2, 0, 1)


def _side_by_side(what: str, names: Sequence[str], columns: list[np.ndarray]) -> np.ndarray:
    if len(columns) == 1:
        return columns[0]
    for name, column in zip(names, columns, strict=True):
        if column.ndim != 1 or column.dtype.kind not in "iufb":
            raise UserError(f"{what}: several columns make one row of numbers, but {name!r} is not a number")
    return np.stack([column.astype(np.float32) for column in columns], axis=1)


def _read(path: Path) -> dict[str, Any]:
    """Return the splits by our names."""
    try:
        import datasets
    except ImportError as error:
        raise UserError("such data sets are read by datasets: pip install 'ffcore[huggingface]'") from error
    if not path.is_dir():
        raise UserError(f"{path}: no such directory; set data.path to one that save_to_disk has written")
    try:
        made = datasets.load_from_disk(str(path))
    except Exception as error:  # of several libraries, with classes of their own
        raise UserError(f"{path}: not a data set of save_to_disk: {first_line(error)}") from error
    splits = made if isinstance(made, datasets.DatasetDict) else {"train": made}
    known = {_SPLITS[name]: split for name, split in splits.items() if name in _SPLITS}
    if "train" not in known:
        raise UserError(f"{path}: there is no split train, only {', '.join(splits)}")
    return known
