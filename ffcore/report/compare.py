"""Compares several runs: writes ``report.md`` and ``report.html`` into a directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ffcore.errors import UserError
from ffcore.files import RESULTS
from ffcore.report.confusion import draw_confusion, matrix_of
from ffcore.report.curves import has_measure
from ffcore.report.differences import differences, grouped, names_of_runs
from ffcore.report.document import Document
from ffcore.report.evidence import better_alone
from ffcore.report.goodness import draw_histograms, grid_of, measured_blocks
from ffcore.report.images import draw_receptive, weights_of
from ffcore.report.legend import shared_legend
from ffcore.report.measure import Measure
from ffcore.report.record import RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.spent import comparable
from ffcore.report.style import (
    INK,
    MUTED,
    RUNS,
    WIDE,
    epoch_axis,
    fit_scale,
    label,
    mark,
    new_figure,
    paper_style,
)
from ffcore.report.table import compared
from ffcore.report.text import NOTHING, code, literal, markdown_table, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Named = dict[str, RunRecord]
"""Runs by unique names."""

COLUMNS = 3
"""Number of small plots in a row."""


def write_comparison(
    runs: Sequence[RunRecord],
    folder: str | Path,
    force: bool = False,
    complain: Callable[[str], None] = lambda message: None,
) -> Path:
    """Compare runs: their results, settings, learning curves, blocks and pictures.

    Args:
        runs: at least one.
        folder: the target directory; created if missing.
        force: write into a directory that is not empty, and overwrite an earlier comparison.
        complain: called with one line for every section that failed; the others are still written.

    Returns:
        The path of ``report.md``.

    Raises:
        UserError: the directory is a run directory, is not empty, or cannot be made.
    """
    target = Path(folder)
    _check(target, force)
    named = dict(zip(names_of_runs(runs), runs, strict=True))
    document = Document(f"{plural(len(runs), 'run')} compared", target, complain)
    with paper_style():
        for make in (_results, _settings, _curves, _sources, _goodness, _confusion, _receptive):
            # the docstring of each function is the name of its section in messages
            name = f"comparison of {(make.__doc__ or '').split('.')[0].lower()}"
            document.add(name, lambda make=make: make(named))  # type: ignore[misc]
    return document.write()


def _check(folder: Path, force: bool) -> None:
    if (folder / RESULTS).exists():
        raise UserError(
            f"{str(folder)!r} is a run directory, whose report would be overwritten: name another"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UserError(f"{str(folder)!r} cannot be a directory: {problem.strerror}") from problem
    if not force and any(folder.iterdir()):
        raise UserError(f"{str(folder)!r} is not empty: --force overwrites an earlier comparison")


def _results(named: Named) -> Section:
    """Results."""
    runs = [run.results for run in named.values()]
    rows = compared(runs, list(map(literal, named)))
    measures = Measure.distinct(runs)
    label = measures[0].label if len(measures) == 1 else "result"
    full = {
        "test": f"test {label}",
        "paper": "paper (%)",
        "val.": f"validation {label}",
        "time": "training time",
        "mult.": "multiplications to learn",
        "energy": f"energy to learn ({', '.join(comparable(runs))})",
        "memory": "peak memory",
        "param.": "parameters",
    }
    table = markdown_table([full.get(key, key) for key in rows[0]], [list(row.values()) for row in rows])
    if any(measure.headline for measure in measures):
        better = [f"{measure.label}: {measure.better}." for measure in measures]
        table += f"\n\n{literal(' '.join(better))}"
    sources = {run.get("paper", "source"): None for run in named.values() if run.get("paper", "source")}
    alone = [literal(line) for line in better_alone(list(named.values()), list(named))]
    papers = [f"The paper's result: {literal(source)}" for source in sources]
    return Section("Results", "\n\n".join([table, *alone, *papers]))


def _settings(named: Named) -> Section:
    """Settings."""
    different = differences(list(named.values()))
    empty = [""] * len(named)

    def of_cell(cell: str) -> str:
        return cell if cell in ("", NOTHING) else code(cell)

    if not different:
        return Section("Settings that differ", "The recipes of these runs are the same.")
    rows = [
        [f"**{literal(path)}**" if not cells else code(path), *(of_cell(cell) for cell in cells or empty)]
        for path, cells in grouped(different)
    ]
    return Section(
        "Settings that differ", markdown_table(("setting", *map(literal, named)), rows, numbers=False)
    )


def _curves(named: Named) -> Section | None:
    """Learning curves."""
    available = {name: run for name, run in named.items() if has_measure(run)}
    if not available:
        return None
    measures = Measure.distinct(run.results for run in available.values())
    timed = any(_is_timed(run) for run in available.values())
    figure = new_figure(WIDE if timed else 4.8, 3.1 * len(measures))
    for i, measure in enumerate(measures):  # a row of plots for each
        for over_time in (False, True)[: 1 + timed]:
            ax = figure.add_subplot(len(measures), 1 + timed, i * (1 + timed) + 1 + over_time)
            _draw_measure(ax, available, measure, over_time)
    shared_legend(figure, figure.axes, list(available), loc="outside upper right")
    of = ", ".join(measure.name for measure in measures)
    caption = f"Validation {of} over epochs, and over the training time; diamonds are those of test data."
    return Section("Learning curves", "", [Picture("curves", figure, caption)])


def _is_timed(run: RunRecord) -> bool:
    return len(run.series("seconds")[0]) > 0


def _draw_measure(ax: Axes, named: Named, measure: Measure, over_time: bool) -> None:
    """Draw one line per run with this measure. Over time, a line ends at the last validation."""
    seen: list[float] = []
    drawn: Named = {}
    for i, (name, run) in enumerate(named.items()):
        if Measure.of(run.results) != measure or (over_time and not _is_timed(run)):
            continue
        drawn[name] = run
        epochs, stored = run.series(measure.column)
        values = measure.shown(stored)
        # validations may be rarer than epochs, which have the times
        x = np.interp(epochs, *run.series("seconds")) if over_time else epochs
        colour = RUNS[i % len(RUNS)]
        dashes = ("-", "--", ":")[i // len(RUNS) % 3]  # more runs than colours differ in their dashes
        ax.plot(x, values, color=colour, ls=dashes, label=name, **mark(len(x)))
        seen += values.tolist()
        test, at = measure.stored(run.results, "test"), run.get("epoch_selected")
        if test is not None:
            place = x[-1] if at is None else np.interp(at, epochs, x)
            ax.plot([place], [measure.shown(test)], "D", color=colour, mfc="white", ms=5)
            seen.append(measure.shown(test))
    papers = {run.get("paper", "test_error") for run in drawn.values()} - {None}
    # with several papers their results are only in the table
    if len(papers) == 1 and measure.headline is None:
        seen += papers
        ax.axhline(seen[-1], color=MUTED, lw=1, ls=(0, (4, 3)), label="test, paper")
    fit_scale(ax, seen)
    ax.set_ylabel(measure.label)
    if over_time:
        ax.set_xlim(left=0)
        ax.set_xlabel("training time (s)")
        ax.set_title(f"Validation {measure.name} over time")
    else:
        epoch_axis(ax)
        ax.set_title(f"Validation {measure.name} over epochs")


def _sources(named: Named) -> Section | None:
    """Blocks."""
    measures = {name: Measure.of(run.results) for name, run in named.items()}
    alone = {name: measures[name].sources(run.results, "test") for name, run in named.items()}
    sources = list(dict.fromkeys(source for own in alone.values() for source in own))
    # with one source per run this table would repeat the results
    if all(len(own) < 2 for own in alone.values()):
        return None
    rows = [
        [literal(source), *(measures[name].text(own.get(source)) for name, own in alone.items())]
        for source in sources
    ]
    combined = (
        measures[name].text(measures[name].stored(run.results, "test")) for name, run in named.items()
    )
    rows.append(["**combined**", *combined])
    different = list(dict.fromkeys(measure.name for measure in measures.values()))
    heads = [literal(name if len(different) == 1 else f"{name}: {measures[name].name}") for name in named]
    title = f"Test {different[0] if len(different) == 1 else 'results'} of single blocks and combined"
    return Section(title, markdown_table(("", *heads), rows))


def _goodness(named: Named) -> Section | None:
    """Goodness."""
    available = {name: run for name, run in named.items() if measured_blocks(run)}
    if not available:
        return None
    # 1.7 inches per row of histograms, and 0.45 for the name of the run
    heights = [grid_of(min(len(measured_blocks(run)), 8))[1] * 1.7 + 0.45 for run in available.values()]
    figure = new_figure(WIDE, sum(heights))
    strips = np.ravel(figure.subfigures(len(available), 1, height_ratios=heights, squeeze=False))
    for strip, (name, run) in zip(strips, available.items(), strict=True):
        strip.suptitle(label(name, 60), x=0.01, ha="left", fontsize=9, fontweight="bold", color=INK)
        draw_histograms(strip, run)
    caption = "Goodness of positive and negative samples on validation data at the end of training."
    return Section("Goodness", "", [Picture("goodness", figure, caption)])


def _confusion(named: Named) -> Section | None:
    """Confusion."""
    available = {name: run for name, run in named.items() if matrix_of(run) is not None}
    caption = "Number of test samples by true class (rows) and predicted class (columns)."
    return _small_plots("Confusion", "confusion", available, draw_confusion, caption)


def _receptive(named: Named) -> Section | None:
    """Receptive fields."""
    available = {name: run for name, run in named.items() if weights_of(run) is not None}

    def draw(ax: Axes, run: RunRecord) -> None:
        fields = weights_of(run)
        assert fields is not None, "only runs that have them"
        draw_receptive(ax, fields[1][:36], columns=6)

    caption = "Input weights of the units of the first block with the largest norm; one colour scale per run."
    return _small_plots("Receptive fields", "receptive", available, draw, caption)


def _small_plots(
    title: str, picture: str, named: Named, draw: Callable[[Axes, RunRecord], None], caption: str
) -> Section | None:
    """Draw one small plot per run."""
    if not named:
        return None
    columns = min(len(named), COLUMNS)
    rows = -(-len(named) // columns)
    width = WIDE / (COLUMNS if columns > 1 else 2)
    figure = new_figure(width * columns, width * rows)
    for i, (name, run) in enumerate(named.items()):
        ax = figure.add_subplot(rows, columns, i + 1)
        draw(ax, run)
        ax.set_title(label(name))
    return Section(title, "", [Picture(picture, figure, caption)])
