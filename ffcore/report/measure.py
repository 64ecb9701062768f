"""The measure by which runs of a task are compared: the error in percent, or the headline of the task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ffcore.report.record import deep
from ffcore.report.text import error, number

Values = TypeVar("Values", float, Any)


@dataclass(frozen=True, slots=True)
class Measure:
    """The headline of a task. Of the classification of samples accuracies are stored, and errors are shown.

    Attributes:
        headline: such as "r2"; None for the classification of samples.
        lower: whether smaller values are better.
    """

    headline: str | None = None
    lower: bool = True

    @classmethod
    def of(cls, results: Mapping[str, Any]) -> Measure:
        """Returns the measure of a run.

        Args:
            results: the content of ``results.json``; any key may be missing.
        """
        task = results.get("task")
        return cls(str(task.get("headline")), bool(task.get("lower"))) if task else cls()

    @classmethod
    def distinct(cls, runs: Iterable[Mapping[str, Any]]) -> list[Measure]:
        """Returns the measures of several runs, each once."""
        return list(dict.fromkeys(map(cls.of, runs)))

    @property
    def name(self) -> str:
        """The name: "error" or the headline."""
        return self.headline or "error"

    @property
    def label(self) -> str:
        """The name with its unit."""
        return self.headline or "error (%)"

    @property
    def better(self) -> str:
        """Which values are better, in words."""
        return f"{'smaller' if self.lower else 'larger'} is better"

    @property
    def column(self) -> str:
        """The column of ``metrics.csv`` with the stored values on validation data."""
        return f"val_{self.headline or 'accuracy'}"

    def stored(self, results: Mapping[str, Any], split: str) -> float | None:
        """Returns the stored value of all sources combined on a split, "test" or "val"."""
        value: float | None = deep(results, split, self.headline or "accuracy")
        return value

    def sources(self, results: Mapping[str, Any], split: str) -> dict[str, float]:
        """Returns the stored value of every single source for which it was measured."""
        values = deep(results, split, "per_block" if self.headline else "per_block_accuracy") or {}
        return {name: value for name, value in values.items() if value is not None}

    def shown(self, stored: Values) -> Values:
        """Returns what is shown of a stored value, or an array of them: errors in percent of accuracies."""
        return stored if self.headline else 100 * (1 - stored)

    def score(self, stored: float) -> float:
        """Returns a number that is larger for better values."""
        return -stored if self.headline and self.lower else stored

    def text(self, stored: float | None) -> str:
        """Formats a stored value: an error in percent, or four digits."""
        return number(stored) if self.headline else error(stored)
