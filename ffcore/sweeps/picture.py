"""The picture of a sweep: the error over each setting of a grid, or each parameter of a search."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffcore.files import write_whole
from ffcore.sweeps.ranges import Range
from ffcore.sweeps.search import Search, Trial
from ffcore.sweeps.sweep import PICTURE, Sweep, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGE = 9
"""Least quotient of the largest and the smallest value of a logarithmic axis."""


def draw(sweep: Sweep, complain: Callable[[str], None] = print) -> Path | None:
    """Draw the validation error over each setting with several values into the summary; return the path.

    A line joins the points that differ in this setting only. Bars are standard deviations over seeds. For a
    search, the whole report is written.

    Args:
        sweep: the grid or the search.
        complain: called with one line for a part of a report that failed.

    Returns:
        None without two points that have results.
    """
    if sweep.search is not None:
        from ffcore.sweeps import search_report

        return sweep.folder / PICTURE if search_report.write(sweep, complain) else None
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
        write_whole(sweep.folder / PICTURE, lambda draft: figure.savefig(draft, dpi=150, format="png"))
    sweep.write()
    return sweep.folder / PICTURE


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
    elif len(values) <= FEW:
        ax.set_xticks(numbers, values)  # a narrow panel has no room for numbers between them
    ax.set_xlabel(path)
    if 1 < len(lines) <= 8:
        ax.legend(fontsize=7)


def _numbers(values: list[str]) -> list[float]:
    """Return the values as numbers; empty if one is none."""
    try:
        return [float(value) for value in values]
    except ValueError:
        return []


FEW = 6
"""Values of a parameter that are all written at the axis."""

PANELS = 3
"""Panels in a row of the picture of a search."""


def search_figure(sweep: Sweep) -> Figure | None:
    """Returns the validation of every trial over each parameter, and the importance of the parameters.

    Returns:
        None without two trials that have a value.
    """
    from ffcore.report.style import new_figure
    from ffcore.sweeps.search_report import importance

    search = sweep.search
    assert search is not None
    known = [trial for trial in search.found if trial.value is not None and trial.state != "failed"]
    if len(known) < 2:
        return None
    ranges, shares = search.parsed(), importance(search)
    panels = len(ranges) + (shares is not None)
    width, height = min(panels, PANELS), -(-panels // PANELS)
    figure = new_figure(2.53 * width if width > 1 else 3.4, 2.6 * height)
    for index, searched in enumerate(ranges.values()):
        ax = figure.add_subplot(height, width, index + 1)
        _scatter(ax, searched, search, known)
        if index % PANELS == 0:
            ax.set_ylabel(search.measure)
    if shares is not None:
        _bars(figure.add_subplot(height, width, panels), shares)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if len(handles) > 1:
        figure.legend(handles, labels, loc="outside upper center", ncols=len(handles))
    return figure


def _scatter(ax: Axes, searched: Range, search: Search, known: Sequence[Trial]) -> None:
    from matplotlib.ticker import MaxNLocator

    from ffcore.report.style import INK, MUTED, NEGATIVE, POSITIVE, fit_scale, label

    texts = {trial.number: trial.values[searched.path] for trial in known}
    if searched.word == "choice":
        places = {text: float(index) for index, text in enumerate(searched.choices)}
        ax.set_xticks(range(len(searched.choices)), [label(text, 12) for text in searched.choices])
        ax.set_xlim(-0.5, len(searched.choices) - 0.5)
    else:
        places = {text: float(text) for text in texts.values()}
        if searched.word == "log":
            ax.set_xscale("log")
            _decades(ax, searched)
        else:
            margin = 0.04 * (searched.high - searched.low)
            ax.set_xlim(searched.low - margin, searched.high + margin)
            ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=searched.word == "int"))
    styles: dict[str, dict[str, Any]] = {
        "done": {"marker": "o", "color": POSITIVE, "s": 18, "linewidths": 0, "alpha": 0.75, "zorder": 3},
        "pruned": {"marker": "x", "color": MUTED, "s": 16, "linewidths": 1.0, "zorder": 2},
        "running": {"marker": "+", "color": MUTED, "s": 22, "linewidths": 1.0, "zorder": 2},
    }
    for state, style in styles.items():
        if own := [trial for trial in known if trial.state == state]:
            x = [places[texts[trial.number]] for trial in own]
            name = {"done": "finished", "running": "unfinished"}.get(state, state)
            ax.scatter(x, [trial.value or 0.0 for trial in own], label=name, **style)
    if (best := search.best) is not None:
        at = places[best.values[searched.path]]
        options: dict[str, Any] = {
            "facecolors": "none",
            "edgecolors": NEGATIVE,
            "s": 62,
            "linewidths": 1.5,
            "zorder": 4,
        }
        ax.scatter([at], [best.value or 0.0], label="best", **options)
    fit_scale(ax, [trial.value or 0.0 for trial in known])
    ax.set_xlabel(label(searched.path, 36), color=INK)


def _decades(ax: Axes, searched: Range) -> None:
    """Set ticks at powers of ten, with values between if there are few; the style shows no powers."""
    import math

    from matplotlib.ticker import NullLocator

    low, high = math.floor(math.log10(searched.low)), math.ceil(math.log10(searched.high))
    factors = (1, 2, 5) if high - low <= 1 else (1, 3) if high - low <= 2 else (1,)
    ticks = [factor * 10.0**power for power in range(low, high + 1) for factor in factors]
    inside = [tick for tick in ticks if searched.low * 0.999 <= tick <= searched.high * 1.001]
    step = -(-len(inside) // 5)
    ax.set_xlim(searched.low / 1.15, searched.high * 1.15)
    ax.set_xticks(inside[::step] or [searched.low, searched.high])
    ax.set_xticklabels([f"{tick:g}" for tick in inside[::step] or [searched.low, searched.high]])
    ax.xaxis.set_minor_locator(NullLocator())


def _bars(ax: Axes, shares: dict[str, float]) -> None:
    from ffcore.report.style import POSITIVE, label
    from ffcore.sweeps.search_report import names

    paths = list(shares)[::-1]
    short = dict(zip(shares, names(list(shares)), strict=True))  # long labels would push the panels apart
    ax.barh(range(len(paths)), [100 * shares[path] for path in paths], color=POSITIVE, height=0.6)
    ax.set_yticks(range(len(paths)), [label(short[path], 14) for path in paths])
    ax.set_xlabel("importance (%)")
    ax.grid(False, axis="y")
