"""Predictions of a run for the samples of a file. N samples."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ffcore.errors import UserError
from ffcore.files import write_whole
from ffcore.reading import expanded, names_of_arrays, read_arrays
from ffcore.run.predictor import Predictor


@dataclass(frozen=True)
class Predictions:
    """Predictions of the samples of a file.

    Attributes:
        values: (N,) classes as indices; or (N, K) labels or values, or an array of more dimensions.
        names: names of the columns: "prediction" for classes.
        classes: names of the classes, for predictions that are classes.
    """

    values: np.ndarray
    names: tuple[str, ...]
    classes: tuple[str, ...] | None

    def csv(self) -> str:
        """Return a header and a line for each sample.

        Raises:
            UserError: a sample has several positions.
        """
        if self.values.ndim > 2 or (self.classes is not None and self.values.ndim > 1):
            raise UserError(
                f"predictions of shape {self.values.shape} are no table; write them with --out FILE.npy"
            )
        file = io.StringIO()
        table = csv.writer(file, lineterminator="\n")
        table.writerow(self.names)
        for row in self.values:
            table.writerow([self.classes[int(row)]] if self.classes is not None else row.tolist())
        return file.getvalue()


def predictions(run_dir: Path, file: Path, device: str = "cpu") -> Predictions:
    """Return the predictions of a run for a file.

    Args:
        run_dir: the run directory.
        file: a table for a run on a table; for one on texts a table, or a ``.txt`` file with a text in each
            line; else samples as they are stored, ``.npy`` or ``x`` in ``.npz``; several inputs in ``.npz``
            under their names, or x0, x1, …
        device: "cpu", "cuda", "cuda:1", or "auto" for a GPU if there is one.

    Raises:
        UserError: the file or the run cannot be read, or they do not fit.
    """
    predictor = Predictor(run_dir, device=device)
    path = expanded(file)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if predictor.encoding is not None and path.suffix not in (".npy", ".npz"):
        made = predictor.predict(predictor.encoding.of_file(path))
    else:
        made = predictor.predict(_samples(path, predictor.form.dtype))
    task = predictor.form.task
    classes = predictor.classes if task.target == "class" else None
    names = ("prediction",) if classes is not None else predictor.classes
    return Predictions(np.asarray(made), names, classes)


def refuse_file(out: Path) -> None:
    """Raise if predictions cannot be written to a file.

    Raises:
        UserError: it exists, has another ending, or its directory does not exist.
    """
    if out.suffix not in (".csv", ".npy"):
        raise UserError(f"--out {out}: should end in .csv or .npy")
    if out.exists():
        raise UserError(f"--out {out}: exists already")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: the directory {out.parent} does not exist")


def write(made: Predictions, out: Path) -> None:
    """Write predictions to a .csv or .npy file, complete or not at all.

    Raises:
        UserError: as for `refuse_file`, or predictions are no table.
    """
    refuse_file(out)
    if out.suffix == ".npy":
        write_whole(out, lambda path: _save(path, made.values))
        return
    text = made.csv()
    write_whole(out, lambda path: path.write_text(text, encoding="utf-8"))


def _save(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:  # with a name, NumPy would append ``.npy`` to it
        np.save(file, values, allow_pickle=False)


def _samples(path: Path, dtype: Any) -> Any:
    """Return the samples of a file, in the structure of the run's ``dtype``."""
    names = [*dtype] if isinstance(dtype, Mapping) else []
    names = [f"x{i}" for i in range(len(dtype))] if isinstance(dtype, tuple | list) else names
    if names and path.suffix == ".npz":
        read = read_arrays(path, tuple(names))
        if missing := [name for name in names if name not in read]:
            raise UserError(
                f"{path}: there is no array {missing[0]!r}; the run has the inputs {', '.join(names)}"
            )
        return read if isinstance(dtype, Mapping) else tuple(read[name] for name in names)
    if path.suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read as an array: {error}") from error
    if path.suffix == ".npz":
        if "x" not in (arrays := read_arrays(path, ("x",))):
            raise UserError(f"{path}: has no array x; it has {', '.join(names_of_arrays(path)) or 'none'}")
        return arrays["x"]
    raise UserError(f"{path}: should be .npy, or .npz with an array x")
