"""`RunRecord`: reads a run directory, without torch."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcore.errors import UserError, one_line
from ffcore.files import ARRAYS, CONFIG, METRICS
from ffcore.reading import read_arrays, read_text
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.text import parse
from ffcore.report.results import read_results

Array = NDArray[Any]

MOST_ARRAYS = 2**31
"""Largest size of all arrays of a run in bytes."""

AXES = (
    (re.compile(r"receptive/.*"), (2, 3, 4, 5)),
    (re.compile(r"goodness/.*"), (1,)),
    (re.compile(r"threshold/.*"), (0, 1)),
    (re.compile(r"history/epochs"), (1,)),
    (re.compile(r"history/.*/.*"), (2,)),
    (re.compile(r"examples/(y|predicted)"), (1,)),
)
"""Number of axes of the arrays that reports read, by name. Arrays with other names belong to plugins."""


def deep(results: Mapping[str, Any], *keys: str) -> Any:
    """Returns a nested value or None: ``deep(results, "test", "accuracy")``."""
    value: Any = results
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The files of a finished run.

    Any key of ``results``, ``metrics`` and ``arrays`` may be missing: older runs have fewer.

    Args:
        path: the run directory.
        config: the complete recipe.
        results: the content of ``results.json``.
        metrics: the columns of ``metrics.csv``, one value per epoch; None for an empty cell.
        arrays: the content of ``arrays.npz``.
    """

    path: Path
    config: dict[str, Any]
    results: dict[str, Any]
    metrics: dict[str, list[float | None]]
    arrays: Mapping[str, Array]

    @classmethod
    def read(cls, run_dir: str | Path) -> RunRecord:
        """Read a run directory.

        Raises:
            UserError: it is not a run directory, the run is not finished, or a file is damaged.
        """
        path = Path(run_dir)
        if not path.is_dir():
            raise UserError(f"the run directory {str(path)!r} does not exist")
        results = read_results(path)
        return cls(path, _config(path), results, _metrics(path), _arrays(path))

    @property
    def blocks(self) -> list[str]:
        """Names of the blocks, in order of depth."""
        if (blocks := self.results.get("blocks")) is not None:
            return [block["name"] for block in blocks]
        return [column.removesuffix("/loss") for column in self.metrics if column.endswith("/loss")]

    @property
    def sources(self) -> dict[str, str]:
        """Kind (``block`` or ``readout``) of every source of evidence, by name."""
        return {source["name"]: source["kind"] for source in self.results.get("sources") or []}

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty if they are not known."""
        return [str(name) for name in self.get("data", "classes") or []]

    def get(self, *keys: str) -> Any:
        """Returns a nested value of the results or None: ``run.get("test", "accuracy")``."""
        return deep(self.results, *keys)

    def series(self, column: str) -> tuple[Array, Array]:
        """Returns epochs and values of a column, without rows that are empty or not finite."""
        values = self.metrics.get(column) or []
        epochs = self.metrics.get("epoch", [])
        pairs = [(e, v) for e, v in zip(epochs, values, strict=False) if e is not None and v is not None]
        both = np.array(pairs, dtype=float).reshape(-1, 2)
        both = both[np.isfinite(both).all(1)]
        return both[:, 0], both[:, 1]

    def sample(self, key: str) -> Array:
        """Returns the finite values of an array, flat; empty if the run does not have the array."""
        # histograms cannot be drawn with NaN or inf
        values = np.asarray(self.arrays.get(key, ()), dtype=float).ravel()
        finite: Array = values[np.isfinite(values)]
        return finite


def _config(path: Path) -> dict[str, Any]:
    file = path / CONFIG
    if not file.exists():
        return {}
    try:
        return parse(read_text(file), str(file)).data
    except RecipeError as error:
        raise UserError(f"{str(file)!r} is not YAML: {error}") from error


def read_metrics(path: Path) -> dict[str, list[float | None]]:
    """Returns the columns of ``metrics.csv``, one value per epoch; None for an empty cell.

    Raises:
        UserError: the file cannot be read, or a cell is not a number.
    """
    columns: dict[str, list[float | None]] = {}
    # newline: the csv module interprets line ends itself
    lines = io.StringIO(read_text(path), newline="")
    try:
        # restval: an interrupted process may have left a short last line
        reader = csv.DictReader(lines, restval="", strict=True)
        columns = {name: [] for name in reader.fieldnames or []}
        if columns and "epoch" not in columns:
            raise UserError(f"{str(path)!r} is not a table of metrics: it has no column 'epoch'")
        for row in reader:
            if None in row:  # the key of csv for further cells
                raise UserError(f"{str(path)!r}, line {reader.line_num}: has more cells than columns")
            for name, column in columns.items():
                try:
                    column.append(float(row[name]) if row[name] else None)
                except ValueError as error:
                    raise UserError(
                        f"{str(path)!r}, line {reader.line_num}, {name:.99}: {one_line(error, 99)}"
                    ) from error
    except csv.Error as error:
        raise UserError(f"{str(path)!r} is not a table of metrics: {one_line(error, 99)}") from error
    return columns


def read_figures(path: Path) -> dict[str, Array]:
    """Returns the arrays of a run's ``arrays.npz``, by name.

    Raises:
        UserError: the file cannot be read, or an array has a wrong type or number of axes.
    """
    arrays: dict[str, Array] = read_arrays(path, most=MOST_ARRAYS)
    for name, values in arrays.items():
        if values.dtype.kind not in "biuf":
            raise UserError(f"{str(path)!r}, {name}: should be numbers, not {values.dtype}")
        for pattern, axes in AXES:
            if pattern.fullmatch(name) and values.ndim not in axes:
                wanted = " or ".join(map(str, axes))
                raise UserError(
                    f"{str(path)!r}, {name}: should have {wanted} axes, but its shape is {values.shape}"
                )
    return arrays


def _metrics(path: Path) -> dict[str, list[float | None]]:
    file = path / METRICS
    return read_metrics(file) if file.exists() else {}


def _arrays(path: Path) -> dict[str, Array]:
    # the second is the name in older runs
    file = next((path / name for name in (ARRAYS, "figures.npz") if (path / name).exists()), None)
    return {} if file is None else read_figures(file)
