"""What the representations of a run are like: tables, and pictures of CKA, gradients and robustness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ffcore.report.analysis_record import Analysis, ChangeCurve, GradientCosines, Robustness, Similarity
from ffcore.report.record import RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.style import INK, MUTED, NEGATIVE, POSITIVE, RUNS, label, new_figure
from ffcore.report.text import (
    NOTHING,
    count,
    literal,
    markdown_table,
    number,
    percent,
    plural,
    standard_error,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = 12
"""Most columns of a table of CKA, and most names beside a picture."""

_CHANGES = {"noise": "noise", "shift": "shift", "fgsm": "FGSM", "transfer": "FGSM of the twin"}


@dataclass(frozen=True)
class Table:
    """A table with a title and lines that explain it.

    Attributes:
        title: its heading.
        columns: names of the columns.
        rows: cells; empty if nothing was measured.
        notes: lines below.
    """

    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def tables(record: Analysis) -> list[Table]:
    """Returns the tables of an analysis, for reports and the terminal.

    Args:
        record: the content of ``analysis.json``.
    """
    made = [_activities(record), _similarity(record.similarity, "Similarity of blocks (unbiased linear CKA)")]
    if record.twin is not None:
        made.append(_similarity(record.twin, f"Similarity with blocks of {record.twin.of} (unbiased CKA)"))
    return [*made, _gradients(record.gradients), _robustness(record.robustness, record.samples)]


def analysis(run: RunRecord) -> Section | None:
    """Returns the section of the analysis; None for a run without the file ``analysis.json``."""
    record = Analysis.read(run.path)
    if record is None:
        return None
    parts = [f"{plural(record.samples, 'sample')} of the {record.split} split."]
    for table in tables(record):
        parts.append(f"### {literal(table.title)}")
        if table.rows:
            rows = [[literal(name), *map(literal, cells)] for name, *cells in table.rows]
            parts.append(markdown_table([literal(each) for each in table.columns], rows))
        if table.notes:
            parts.append(" ".join(map(literal, table.notes)))
    return Section("What a representation is like", "\n\n".join(parts), _pictures(record))


# -- tables --------------------------------------------------------------------------------------------------


def _activities(record: Analysis) -> Table:
    columns = ("block", "units", "population", "lifetime", "zeros", "dead", "rank", "participation")
    rows = [
        [
            each.name,
            count(each.features),
            _two(each.population_sparsity),
            _two(each.lifetime_sparsity),
            percent(each.zeros),
            percent(each.dead),
            _one(each.effective_rank),
            _one(each.participation_ratio),
        ]
        for each in record.blocks
    ]
    most = record.samples - 1
    notes = [
        "Activities in a neutral pass. Sparsity over units (population) and samples (lifetime): 0 if all "
        "answer alike, 1 if a single one answers. Dead units are 0 for all samples. Effective rank and "
        "participation ratio: dimensions that the samples and their variance fill."
    ]
    if any(each.features > most for each in record.blocks):
        notes.append(f"With {count(record.samples)} samples a rank is at most {count(most)}.")
    return Table("Activities", columns, rows, notes)


def _similarity(of: Similarity, title: str) -> Table:
    notes = []
    shown = _ticks(of.columns)
    if len(shown) < len(of.columns):
        notes.append(f"{_SHOWN} of {len(of.columns)} columns; analysis.json has all.")
    rows = [
        [name, *(_two(values[index]) for index in shown)]
        for name, values in zip(of.rows, of.values, strict=True)
    ]
    return Table(title, ("block", *(of.columns[index] for index in shown)), rows, notes)


def _gradients(of: GradientCosines) -> Table:
    title = "Cosine of local gradients with those of backpropagation"
    if of.reason:
        return Table(title, notes=[f"Not available: {of.reason}."])
    rows = [
        [each.name, _signed(each.cosine), NOTHING if each.deviation is None else f"{each.deviation:.3f}"]
        for each in of.blocks
    ]
    missing = [f"{each.name}: not available: {each.reason}." for each in of.blocks if each.reason]
    loss = "the cross-entropy of the network's class scores"
    if of.temperature is not None and of.temperature != 1:
        loss += f" divided by {number(of.temperature)}"
    notes = [
        *missing,
        f"Mean and standard deviation over {_batches(of.batches)} of {plural(of.batch_size, 'sample')} "
        f"({of.split}), in evaluation mode. Backpropagation: of {loss}, through all blocks.",
    ]
    return Table(title, ("block", "cosine", "deviation"), rows, notes)


def _batches(number: int) -> str:
    return f"{number} batch{'' if number == 1 else 'es'}"


def _robustness(of: Robustness, samples: int) -> Table:
    title = "Accuracy on changed inputs"
    if of.reason or of.accuracy is None:
        return Table(title, notes=[f"Not available: {of.reason}."])
    rows = [["none", "", percent(of.accuracy), NOTHING]]
    notes = []
    for curve in of.curves:
        name = _CHANGES[curve.change]
        if curve.reason:
            notes.append(f"{name}: not available: {curve.reason}.")
        rows += [
            [name, _level(curve, level), percent(accuracy), f"{100 * (accuracy - of.accuracy):+.2f}"]
            for level, accuracy in zip(curve.levels, curve.accuracies, strict=True)
        ]
    unit = "the range of the data" if of.unit == "range" else "the standard deviation of all inputs"
    error = 100 * standard_error(of.accuracy, samples)
    notes.append(
        f"Sizes of noise (standard deviation) and FGSM in units of {unit}; shifts are means over four "
        f"directions. The standard error of {percent(of.accuracy)} is {error:.2f} points."
    )
    notes += [
        f"{_CHANGES[curve.change]} found no direction for {percent(curve.still)} of the samples: their "
        "gradient is zero."
        for curve in of.curves
        if curve.still
    ]
    attacks = {curve.change: curve.accuracies for curve in of.curves}
    pairs = zip(attacks.get("fgsm", ()), attacks.get("transfer", ()), strict=False)
    if any(own - other > 2 * standard_error(own, samples) for own, other in pairs):
        notes.append(
            "The gradient of the twin harms more than the own one, which therefore says little: accuracy "
            "under FGSM is no measure of robustness here."
        )
    return Table(title, ("change", "size", "accuracy", "points"), rows, notes)


def _level(curve: ChangeCurve, level: float) -> str:
    return f"{level:.0f} px" if curve.change == "shift" else f"{level:g}"


def _ticks(names: Sequence[object]) -> list[int]:
    """Returns evenly spaced indices of at most `_SHOWN` names, with the first and the last."""
    if len(names) <= _SHOWN:
        return list(range(len(names)))
    return [int(i) for i in np.linspace(0, len(names) - 1, _SHOWN).round()]


def _two(value: float | None) -> str:
    return NOTHING if value is None else f"{value + 0.0:.2f}".replace("-0.00", "0.00")


def _signed(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.3f}"


def _one(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


# -- pictures ------------------------------------------------------------------------------------------------


def _pictures(record: Analysis) -> list[Picture]:
    of = [record.similarity] if record.twin is None else [record.similarity, record.twin]
    figure = new_figure(3.6 * len(of) + 0.4, 3.4)
    for place, each in enumerate(of):
        _matrix(figure.add_subplot(1, len(of), place + 1), each)
    made = [
        Picture("cka", figure, "Unbiased linear CKA: 1 for activities that differ by rotation and scale.")
    ]
    measured = [each for each in record.gradients.blocks if each.cosine is not None]
    curves = [curve for curve in record.robustness.curves if curve.levels]
    panels = bool(measured) + (2 if curves else 0)
    if not panels:
        return made
    figure = new_figure(7.6 if panels > 1 else 3.8, 2.7)
    spots = iter(range(1, panels + 1))
    if measured:
        _cosine_panel(figure.add_subplot(1, panels, next(spots)), record.gradients)
    if curves:
        _lines(figure.add_subplot(1, panels, next(spots)), record.robustness, ("noise", "fgsm", "transfer"))
        _lines(figure.add_subplot(1, panels, next(spots)), record.robustness, ("shift",))
    return [
        *made,
        Picture(
            "robustness",
            figure,
            "Cosine of local gradients with those of backpropagation, and accuracy on changed inputs.",
        ),
    ]


def _matrix(ax: Axes, of: Similarity) -> None:
    values = np.array([[np.nan if v is None else v for v in row] for row in of.values], dtype=float)
    ax.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    ax.grid(False)
    across, down = _ticks(of.columns), _ticks(of.rows)
    ax.set_xticks(across, [label(of.columns[i], 12) for i in across], rotation=45, ha="right")
    ax.set_yticks(down, [label(of.rows[i], 12) for i in down])
    if values.size <= 100:
        for (row, column), value in np.ndenumerate(values):
            text = NOTHING if np.isnan(value) else _two(value)
            colour = "white" if np.isnan(value) or value < 0.6 else INK
            ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)
    ax.set_title("CKA" if of.of is None else "CKA with the twin")


def _cosine_panel(ax: Axes, of: GradientCosines) -> None:
    known = [(each.name, each.cosine, each.deviation or 0.0) for each in of.blocks if each.cosine is not None]
    places = range(len(known))
    ax.axvline(0, color=MUTED, lw=0.8)
    ax.errorbar(
        [cosine for _, cosine, _ in known],
        places,
        xerr=[deviation for *_, deviation in known],
        fmt="o",
        color=POSITIVE,
        ecolor=MUTED,
        elinewidth=1,
    )
    shown = _ticks(known)
    ax.set_yticks(shown, [label(known[index][0], 12) for index in shown])
    ax.set_ylim(len(known) - 0.5, -0.5)
    least = min(cosine - deviation for _, cosine, deviation in known)
    ax.set_xlim(min(-0.1, least - 0.05), 1.05)
    ax.set_xlabel("cosine")
    ax.set_title("Local gradients")


def _lines(ax: Axes, of: Robustness, changes: Sequence[str]) -> None:
    start = 100 * (of.accuracy or 0.0)
    for curve, colour in zip(of.curves, (POSITIVE, RUNS[2], NEGATIVE, RUNS[3]), strict=False):
        if curve.change in changes and curve.levels:
            accuracies = [start, *(100 * each for each in curve.accuracies)]
            ax.plot([0, *curve.levels], accuracies, "o-", color=colour, label=_CHANGES[curve.change])
    ax.set_ylim(0, 102)
    ax.set_ylabel("accuracy (%)")
    if "shift" in changes:
        from matplotlib.ticker import MaxNLocator

        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("pixels")
        ax.set_title("Shifts")
    else:
        ax.set_xlabel("share of the range" if of.unit == "range" else "standard deviations")
        ax.set_title("Noise and FGSM")
        ax.legend()
