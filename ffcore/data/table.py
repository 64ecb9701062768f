"""Tables: CSV and Parquet files with a column of targets, read by pandas."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ffcore.data.digest import sha256
from ffcore.data.encoding import Encoding
from ffcore.data.given import Held, Scale, by_class, divided
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.data.table_encoding import Missing, TableEncoding, as_text, refuse_slips
from ffcore.data.table_file import read_table, refuse_columns
from ffcore.errors import UserError, first_line
from ffcore.interfaces import Task
from ffcore.options import FilePath, Natural
from ffcore.reading import expanded
from ffcore.tasks import Classification, MultiLabel, Regression, Unsupervised


class Table(Dataset):
    """A table with a row for each sample: ``.csv``, ``.tsv`` or ``.parquet``.

    Needs ``pip install ffcore[tables]``.

    Columns of numbers are inputs as they are. A column of text or truth values becomes one input for each
    of its values (one-hot), in sorted order of those outside the test split.

    Args:
        path: the file.
        target: name of the column of targets; several for several numbers or labels; null for the task none.
        task: what the targets are: "classification", classes of text or integers; "regression", real
            numbers; "multi-label", zeros and ones; "none".
        columns: names of the columns of inputs; null: all others.
        missing: what to do with an empty cell: "error", "mean" of the column outside the test split, or
            "drop" its row. A row without a target is dropped with both.
        scale: what a run standardises column by column, with mean and standard deviation of the training
            rows: "none", "inputs", or "all", which is also targets of real numbers. Predictors take and
            return stored values.
        test_fraction: share of the rows that becomes the test split.
        seed: seed of that split.
    """

    def __init__(
        self,
        path: FilePath,
        target: str | Sequence[str] | None = None,
        task: Literal["classification", "regression", "multi-label", "none"] = "classification",
        columns: Sequence[str] | None = None,
        missing: Missing = "error",
        scale: Scale = "inputs",
        test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        seed: Natural = 0,
    ) -> None:
        self.path = path
        self.targets = [target] if isinstance(target, str) else list(target or ())
        if bool(self.targets) == (task == "none"):
            name = "name the column of targets, or set task to none"
            raise ValueError(f"target: {'the task none has no targets' if self.targets else name}")
        self.task = task
        self.columns = columns
        self.missing = missing
        self.scale: Scale = scale
        self.test_fraction = test_fraction
        self.seed = seed
        self.encoding: TableEncoding | None = None

    def load(self) -> ImageSet:
        """Read the table.

        Raises:
            UserError: the file is missing or no table, a column is missing, or cells do not fit.
        """
        path = expanded(self.path)
        table = read_table(path, () if self.encoding is None else self.encoding.texts)
        inputs = self._inputs(path, table)
        if self.encoding is None:
            refuse_slips(path, table[inputs])
        table = self._without_gaps(path, table[[*inputs, *self.targets]])
        y, task, names = self._of_targets(path, table[self.targets])
        rows = Split(np.arange(len(table)), y)
        cut = by_class if isinstance(task, Classification) else divided
        train, test = cut(rows, self.test_fraction, self.seed)
        encoding = self.encoding or TableEncoding.fit(
            path,
            table[inputs].iloc[train.x],
            self.targets,
            names if isinstance(task, Classification) else None,
            self.missing,
        )
        x = encoding.encoded(path, table, "zeros" if self.encoding is None else "warn")
        parts = {name: Split(x[part.x], part.y) for name, part in (("train", train), ("test", test))}
        held = Held(parts["train"], parts["test"], task, names, path.stem, scale=self.scale).load()
        return replace(held, provenance={path.name: sha256(path)}, encoding=encoding)

    def encoded_as(self, encoding: Encoding) -> Table:
        """Return a reader of the same file with the columns, values and classes of a run's training."""
        made = copy.copy(self)
        if isinstance(encoding, TableEncoding):
            made.encoding = encoding
        return made

    def _inputs(self, path: Any, table: Any) -> list[str]:
        """Return the names of the columns of inputs."""
        if self.encoding is not None:
            refuse_columns(path, table.columns, [*self.encoding.inputs, *self.targets])
            return list(self.encoding.inputs)
        given = list(self.columns) if self.columns is not None else None
        refuse_columns(path, table.columns, [*self.targets, *(given or ())])
        inputs = given or [name for name in table.columns if name not in self.targets]
        if not inputs or (shared := set(inputs) & set(self.targets)):
            what = f"{min(shared)!r} is an input and a target" if inputs else "there is no column of inputs"
            raise UserError(f"{path}: {what}")
        return inputs

    def _without_gaps(self, path: Any, table: Any) -> Any:
        empty = table.isna()
        if not empty.to_numpy().any():
            return table
        if self.missing == "error":
            row, column = (int(i) for i in np.argwhere(empty.to_numpy())[0])
            raise UserError(
                f"{path}: {int(empty.to_numpy().sum())} cells are empty, the first in row {row + 1}, column "
                f"{table.columns[column]!r}; set data.missing to mean or drop"
            )
        kept = table.dropna(subset=None if self.missing == "drop" else self.targets)
        if not len(kept):
            raise UserError(f"{path}: every row has an empty cell")
        return kept.reset_index(drop=True)

    def _of_targets(self, path: Any, table: Any) -> tuple[np.ndarray, Task, tuple[str, ...] | None]:
        if self.task == "none":
            return np.zeros((len(table), 0), np.float32), Unsupervised(), None
        if self.task == "classification":
            if len(self.targets) > 1:
                raise UserError(
                    f"{path}: target: classes are one column; for several use task: multi-label or regression"
                )
            column = table[self.targets[0]]
            if column.dtype.kind == "f" and not (column == column.round()).all():
                raise UserError(
                    f"{path}: column {self.targets[0]!r} has fractions; for real numbers set data.task to "
                    "regression"
                )
            if self.encoding is not None and self.encoding.classes is not None:
                known = self.encoding.classes
                return self.encoding.classes_of(path, column), Classification(len(known)), known
            names = sorted(column.unique(), key=lambda value: (isinstance(value, str), value))
            if len(names) < 2:
                raise UserError(f"{path}: column {self.targets[0]!r} has one class only")
            index = {name: k for k, name in enumerate(names)}
            texts = tuple(map(as_text, names))
            return column.map(index).to_numpy(np.int64), Classification(len(names)), texts
        try:
            y = table.to_numpy(np.float32)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{path}: columns {self.targets} should be numbers: {first_line(error)}"
            ) from error
        if self.task == "regression":
            return y, Regression(y.shape[1]), tuple(self.targets)
        if not np.isin(y, (0, 1)).all():
            raise UserError(f"{path}: columns {self.targets} should have zeros and ones only")
        return y.astype(np.int64), MultiLabel(y.shape[1]), tuple(self.targets)
