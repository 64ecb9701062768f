"""The picture of a sweep: the error over each searched setting."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from ffcore.files import write_whole
from ffcore.run.sweep import Sweep, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "summary.png"
LARGE = 9
"""Least quotient of the largest and the smallest value of a logarithmic axis."""


def draw(sweep: Sweep) -> Path | None:
    """Draw the validation error over each setting with several values; return the path.

    A line joins the points that differ in this setting only. Bars are standard deviations over seeds.

    Returns:
        None without two points that have results.
    """
    points = {point: shown(sweep, runs)[1] for point, runs in sweep.points().items()}
    known = {_settings(point): values for point, values in points.items() if values and point}
    paths = list(dict.fromkeys(path for point in known for path, _ in point))
    if len(known) < 2:
        return None
    from ffcore.report.style import new_figure, paper_style

    with paper_style():
        figure = new_figure(3.4 * len(paths), 3.0)
        for i, path in enumerate(paths):
            _draw(figure.add_subplot(1, len(paths), i + 1), path, known)
        figure.axes[0].set_ylabel("validation error (%)" if sweep.task is None else sweep.columns[2])
        write_whole(sweep.folder / NAME, lambda draft: figure.savefig(draft, dpi=150, format="png"))
    return sweep.folder / NAME


Point = tuple[tuple[str, str], ...]


def _settings(point: tuple[str, ...]) -> Point:
    """Return the settings of a point.

    >>> _settings(("optimizer.lr=0.1", "seed=2"))
    (('optimizer.lr', '0.1'), ('seed', '2'))
    """
    return tuple((path, value) for path, _, value in (override.partition("=") for override in point))


def _draw(ax: Axes, path: str, known: dict[Point, list[float]]) -> None:
    from ffcore.report.style import RUNS

    values = list(dict.fromkeys(dict(point).get(path, "") for point in known))
    numbers = _numbers(values)
    places = dict(zip(values, numbers if numbers else range(len(values)), strict=True))
    lines: dict[Point, list[tuple[float, float, float]]] = {}
    for point, errors in known.items():
        rest = tuple(setting for setting in point if setting[0] != path)
        spread = statistics.stdev(errors) if len(errors) > 1 else 0.0
        place = places[dict(point).get(path, "")]
        lines.setdefault(rest, []).append((place, statistics.fmean(errors), spread))
    for rest, line in lines.items():
        x, y, bars = zip(*sorted(line), strict=True)
        label = ", ".join(f"{name.rpartition('.')[2]}={value}" for name, value in rest)
        colour = RUNS[list(lines).index(rest) % len(RUNS)]
        ax.errorbar(x, y, bars, marker="o", ms=4, capsize=2, lw=1.2, label=label or None, color=colour)
    if not numbers:
        ax.set_xticks(range(len(values)), values)
    elif min(numbers) > 0 and max(numbers) >= LARGE * min(numbers):
        ax.set_xscale("log")
        ax.set_xticks(numbers, values)  # the style shows no powers
        ax.minorticks_off()
    ax.set_xlabel(path)
    if 1 < len(lines) <= 8:
        ax.legend(fontsize=7)


def _numbers(values: list[str]) -> list[float]:
    """Return the values as numbers; empty if one is none."""
    try:
        return [float(value) for value in values]
    except ValueError:
        return []
