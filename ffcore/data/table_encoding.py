"""How the columns of a table become inputs: fitted on the training rows of a run, stored with it.

A column of numbers is one input. A column of text or truth values is one input for each of its values, in
sorted order.

N rows; D inputs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ffcore.data.encoding import Encoding
from ffcore.data.table_file import read_table, refuse_columns
from ffcore.errors import UserError

Missing = Literal["error", "mean", "drop"]
"""What to do with an empty cell."""

Unknown = Literal["error", "warn", "zeros"]
"""What to do with a text that does not occur in training."""

MOST_VALUES = 200
"""Different texts of a column, each of which becomes an input."""

_FEWEST, _SLIPS = 10, 0.1
"""Number of values, and share of texts among them, up to which a column is one of numbers with slips."""


@dataclass(frozen=True)
class Column:
    """A column of inputs.

    Attributes:
        name: its name.
        mean: mean of its numbers, which replaces empty cells; None for a column of text.
        values: the texts, each of which is an input; None for a column of numbers.
    """

    name: str
    mean: float | None = None
    values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TableEncoding(Encoding):
    """The columns of a table and the values that each of them had in training.

    Attributes:
        columns: the columns of inputs, in order.
        targets: names of the columns of targets.
        classes: the classes of a single column of targets, as text; None for numbers and labels.
        missing: what to do with an empty cell.
        kind: name of the encoding in a checkpoint.
    """

    columns: tuple[Column, ...]
    targets: tuple[str, ...]
    classes: tuple[str, ...] | None
    missing: Missing
    kind: Literal["table"] = "table"

    @classmethod
    def fit(
        cls, what: Any, table: Any, targets: Sequence[str], classes: Sequence[str] | None, missing: Missing
    ) -> TableEncoding:
        """Return the encoding of training rows.

        Args:
            what: a name for messages, such as the path of the file.
            table: the columns of inputs, a pandas data frame.
            targets: names of the columns of targets.
            classes: the classes as text.
            missing: what to do with an empty cell.

        Raises:
            UserError: a column is empty, or has too many different texts.
        """
        columns = tuple(_fitted(what, str(name), table[name]) for name in table.columns)
        return cls(columns, tuple(targets), None if classes is None else tuple(classes), missing)

    def takes(self, x: Any) -> bool:
        """Return whether samples are a data frame."""
        return hasattr(x, "columns") and hasattr(x, "iloc")

    def of_file(self, path: Path) -> np.ndarray:
        """Return the inputs of a table, (N, D) float32."""
        return self.encoded(path, read_table(path, self.texts))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns of inputs."""
        return tuple(column.name for column in self.columns)

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the columns of text, which a reader must not take for numbers."""
        truth = {"True", "False"}
        return tuple(each.name for each in self.columns if each.values and not truth.issuperset(each.values))

    def encoded(
        self, what: Any, table: Any, unknown: Literal["error", "warn", "zeros"] = "error"
    ) -> np.ndarray:
        """Return the inputs of a table, (N, D) float32.

        Args:
            what: a name for messages.
            table: a pandas data frame that has the columns, in any order, perhaps with others.
            unknown: what to do with a text that does not occur in training: "error", or "zeros" in all inputs
                of its column; "warn" warns of it.

        Raises:
            UserError: a column is missing or occurs twice, or a cell does not fit.
        """
        table = table.rename(columns=str)
        if (double := table.columns[table.columns.duplicated()]).size:
            raise UserError(f"{what}: the column {double[0]!r} occurs twice")
        refuse_columns(what, table.columns, self.inputs)
        return np.concatenate(
            [self._of(what, each, table[each.name], unknown) for each in self.columns], axis=1
        )

    def _of(self, what: Any, column: Column, cells: Any, unknown: str) -> np.ndarray:
        empty = cells.isna().to_numpy()
        if empty.any() and self.missing != "mean":
            raise UserError(f"{what}: row {_first(empty)}, column {column.name!r}, is empty")
        if column.values is not None:
            texts = np.array(
                ["" if gap else as_text(v) for v, gap in zip(cells, empty, strict=True)], dtype=object
            )
            known = texts[:, None] == np.array(column.values, dtype=object)
            strange = ~known.any(1) & ~empty
            if strange.any() and unknown != "zeros":
                values = ", ".join(map(repr, column.values[:12]))
                message = (
                    f"{what}: row {_first(strange)}, column {column.name!r}: {texts[strange][0]!r} does not "
                    f"occur in training; the values are {values}"
                )
                if unknown == "error":
                    raise UserError(message)
                warnings.warn(f"{message}; the inputs of this column are 0", stacklevel=2)
            made: np.ndarray = (known & ~empty[:, None]).astype(np.float32)
            return made
        try:
            numbers = cells.to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            row, text = next((i, t) for i, t in enumerate(map(as_text, cells)) if not _is_number(t))
            where = f"row {row + 1}, column {column.name!r}"
            raise UserError(f"{what}: {where}: {text!r} is not a number, as in training") from error
        filled: np.ndarray = np.where(np.isnan(numbers), column.mean or 0.0, numbers)
        return filled[:, None].astype(np.float32)

    def classes_of(self, what: Any, cells: Any) -> np.ndarray:
        """Return the class indices of a column of targets, (N,) int64.

        Raises:
            UserError: a class does not occur in training.
        """
        known = {name: k for k, name in enumerate(self.classes or ())}
        texts = [as_text(value) for value in cells]
        for row, text in enumerate(texts):
            if text not in known:
                names = ", ".join(map(repr, list(known)[:12]))
                cell = f"row {row + 1}, column {self.targets[0]!r}"
                raise UserError(
                    f"{what}: {cell}: the class {text!r} does not occur in training; the classes are {names}"
                )
        return np.array([known[text] for text in texts], dtype=np.int64)


def as_text(value: Any) -> str:
    """Return a cell as text; whole numbers without a fraction, since an empty cell makes floats of a column.

    >>> as_text(2.0), as_text("a")
    ('2', 'a')
    """
    whole = isinstance(value, float | np.floating) and math.isfinite(value) and value == int(value)
    return str(int(value)) if whole else str(value)


def _fitted(what: Any, name: str, cells: Any) -> Column:
    if cells.isna().all():
        raise UserError(f"{what}: column {name!r} is empty outside the test split; leave it out")
    if cells.dtype.kind in "iuf":
        return Column(name, mean=float(np.nanmean(cells.to_numpy(np.float64))))
    values = tuple(sorted(set(map(as_text, cells.dropna()))))
    if len(values) > MOST_VALUES:
        raise UserError(
            f"{what}: column {name!r} has {len(values)} different texts; leave it out of columns, or make "
            "numbers of it"
        )
    return Column(name, values=values)


def refuse_slips(what: Any, table: Any) -> None:
    """Raise if nearly all values of a column of text are numbers: the others are slips, or stand for nothing.

    Raises:
        UserError: with the first such cell.
    """
    for name in table.columns:
        cells = table[name]
        if cells.dtype.kind in "iufb":
            continue
        texts = [as_text(value) for value in cells]
        values = {text for text, empty in zip(texts, cells.isna(), strict=True) if not empty}
        strange = {value for value in values if not _is_number(value)}
        if len(values) < _FEWEST or not 0 < len(strange) <= _SLIPS * len(values):
            continue
        row = next(row for row, text in enumerate(texts) if text in strange)
        raise UserError(
            f"{what}: row {row + 1}, column {str(name)!r}: {texts[row]!r} is not a number, but "
            f"{len(values) - len(strange)} of the {len(values)} values of the column are; leave cells "
            "without a value empty"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first(marks: np.ndarray) -> int:
    """Return the number of the first marked row, from 1."""
    return int(np.flatnonzero(marks)[0]) + 1
