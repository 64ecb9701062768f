"""`RunRecord`: reads a run directory, without torch."""

from __future__ import annotations

import csv
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ffcore.errors import UserError
from ffcore.files import ARRAYS, CONFIG, METRICS, RESULTS, SUMMARY

Array = NDArray[Any]


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
    if not file.is_file():
        return {}
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{str(file)!r} is not YAML: {error}") from error
    return config if isinstance(config, dict) else {}


def read_results(run_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the content of ``results.json``.

    Args:
        run_dir: the run directory, or the file itself.

    Raises:
        UserError: it is not the directory of a finished run, or the file is damaged.
    """
    path = Path(run_dir)
    file = path if path.is_file() else path / RESULTS
    if not path.exists():
        raise UserError(f"the run directory {str(path)!r} does not exist")
    if not file.is_file():
        if (path / CONFIG).is_file():
            raise UserError(f"the run in {str(path)!r} is not finished: it has no {RESULTS}")
        if (path / SUMMARY).is_file():
            raise UserError(f"{str(path)!r} is the directory of a sweep: name a run directory in it")
        raise UserError(f"{str(path)!r} is not a run directory: it has no {RESULTS}")
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{str(file)!r} is not JSON: {error}") from error
    if not isinstance(results, dict):
        raise UserError(f"{str(file)!r} is a {type(results).__name__}, not a mapping")
    return results


def _metrics(path: Path) -> dict[str, list[float | None]]:
    file = path / METRICS
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        # restval: an interrupted process may have left a short last line
        reader = csv.DictReader(lines, restval="")
        columns: dict[str, list[float | None]] = {name: [] for name in reader.fieldnames or []}
        for row in reader:
            for name, column in columns.items():
                try:
                    column.append(float(row[name]) if row[name] else None)
                except ValueError as error:
                    raise UserError(f"{str(file)!r}, line {reader.line_num}, {name}: {error}") from error
    return columns


def _arrays(path: Path) -> dict[str, Array]:
    file = path / ARRAYS
    if not file.is_file():
        file = path / "figures.npz"  # the name in older runs
    if not file.is_file():
        return {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{str(file)!r} cannot be read: {error}") from error
