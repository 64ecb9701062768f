"""``overview.png``: the results of a run in one picture."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcore.report.colours import colours_of
from ffcore.report.confusion import draw_confusion, matrix_of
from ffcore.report.curves import draw_losses, draw_measure, has_losses, has_measure
from ffcore.report.goodness import draw_histograms, measured_blocks
from ffcore.report.images import draw_mistakes, draw_receptive, mistakes_of, weights_of
from ffcore.report.legend import shared_legend
from ffcore.report.measure import Measure
from ffcore.report.record import RunRecord
from ffcore.report.style import MUTED, label, new_figure
from ffcore.report.text import duration, plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

WIDTH = 12.0
"""Width of the picture in inches."""

Panel = tuple[float, Callable[["FigureBase", RunRecord], None]]
"""Relative width of a panel, and the function that draws it."""


def overview(run: RunRecord) -> Figure:
    """Draw curves, confusion, goodness and receptive fields on one picture of about 12 by 7 inches.

    A panel without data is left out; the others get its space.
    """
    rows = [row for row in (_upper(run), _lower(run)) if row]
    figure = new_figure(WIDTH, 0.75 + 3.25 * len(rows))
    heights = [0.7, *[3.2] * len(rows)]
    strips = np.ravel(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False))
    for strip, row in zip(strips[1:], rows, strict=True):
        cells = np.ravel(strip.subfigures(1, len(row), width_ratios=[width for width, _ in row], wspace=0.02))
        for cell, (_, draw) in zip(cells, row, strict=True):
            draw(cell, run)
    # The title gets the width that the legend leaves, which is known only after the legend is made.
    free = WIDTH - 0.2
    if _upper(run):
        curves = [ax for cell in strips[1].subfigs for ax in cell.axes]
        where = {"loc": "upper right", "bbox_to_anchor": (0.998, 0.95), "columnspacing": 1.3}
        legend = shared_legend(strips[0], curves, list(colours_of(run)), **where)
        if legend is not None:
            free -= legend.get_window_extent().width / figure.dpi + 0.2
    _head(strips[0], run, free)
    return figure


def _upper(run: RunRecord) -> list[Panel]:
    panels: list[tuple[bool, Panel]] = [
        (has_measure(run), (1.2, lambda cell, run: draw_measure(cell.add_subplot(), run))),
        (has_losses(run), (1.2, lambda cell, run: draw_losses(cell.add_subplot(), run))),
        (matrix_of(run) is not None, (1.1, lambda cell, run: draw_confusion(cell.add_subplot(), run))),
    ]
    return [panel for has_data, panel in panels if has_data]


def _lower(run: RunRecord) -> list[Panel]:
    blocks = measured_blocks(run)
    panels: list[tuple[bool, Panel]] = [
        (bool(blocks), (2.4, _goodness)),
        # without goodness to show, misclassified samples take its place
        (not blocks and len(mistakes_of(run)) > 0, (2.4, _mistakes)),
        (weights_of(run) is not None, (1.1, _receptive)),
    ]
    return [panel for has_data, panel in panels if has_data]


def _goodness(cell: FigureBase, run: RunRecord) -> None:
    _title(cell, "Goodness on validation data")
    draw_histograms(cell, run)


def _mistakes(cell: FigureBase, run: RunRecord) -> None:
    _title(cell, "Misclassified test samples, true → predicted")
    wrong = mistakes_of(run)[:18]
    draw_mistakes(cell, run, wrong, columns=-(-len(wrong) // (2 if len(wrong) > 3 else 1)))


def _receptive(cell: FigureBase, run: RunRecord) -> None:
    fields = weights_of(run)
    assert fields is not None, "checked by the caller"
    name, weights = fields
    weights = weights[: 64 if max(weights.shape[2:]) <= 12 else 36]
    ax = cell.add_subplot()
    draw_receptive(ax, weights, columns=int(np.ceil(np.sqrt(len(weights)))))
    ax.set_title(f"Receptive fields of {label(name)}")


def _title(cell: FigureBase, text: str) -> None:
    cell.suptitle(text, x=0.01, ha="left", fontsize=9, fontweight="bold")


def _head(strip: FigureBase, run: RunRecord, free: float) -> None:
    """Draw name and results of the run; the name is at most ``free`` inches wide."""
    name, size = fit_title(_name(run), free)
    strip.text(0.008, 0.86, name, fontsize=size, fontweight="bold", va="top", linespacing=1.05)
    strip.text(0.008, 0.3, _numbers(run), fontsize=8.5, color=MUTED, va="top")


def _name(run: RunRecord) -> str:
    name, title = str(run.get("recipe") or run.path.name), str(run.get("title") or "")
    return label(f"{name} – {title}" if title else name, 300)


def fit_title(text: str, room: float) -> tuple[str, float]:
    """Returns a text and its font size so that it fits: smaller, then on two lines, then shortened.

    Args:
        text: one line, drawn bold.
        room: available width in inches.
    """
    for size in (12, 11, 10, 9):
        if _inches(text, size) <= room:
            return text, size
    size = 8
    first, second = _broken(text, room, size)
    if _inches(second, size) > room:
        second = _broken(second, room - _inches("…", size), size)[0] + "…"
    return f"{first}\n{second}" if second else first, size


def _broken(text: str, room: float, size: float) -> tuple[str, str]:
    """Returns the part that fits into a line and the rest, divided between words if possible."""
    fits = max(bisect_right(range(len(text) + 1), room, key=lambda n: _inches(text[:n], size)) - 1, 1)
    if fits < len(text):
        fits = text.rfind(" ", 1, fits + 1) if " " in text[1 : fits + 1] else fits
    return text[:fits], text[fits:].lstrip()


def _inches(text: str, size: float) -> float:
    """Returns the width of bold text in inches."""
    if not text.strip():
        return 0.0
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return (
        float(TextPath((0, 0), text, size, FontProperties(weight="bold")).get_extents().width) / 72
    )  # 72 points per inch


def _numbers(run: RunRecord) -> str:
    measure, paper = Measure.of(run.results), run.get("paper", "test_error")
    parts: tuple[tuple[str, Any, Callable[[Any], str]], ...] = (
        (f"test {measure.name} {{}}", measure.stored(run.results, "test"), measure.text),
        ("paper {} %", paper, "{:.2f}".format),
        ("{}", run.get("parameters"), lambda n: plural(n, "parameter")),
        ("{}", run.get("epochs"), lambda n: plural(n, "epoch")),
        ("{} training", run.get("train_s"), duration),
        ("{} total", run.get("wall_s"), duration),
        ("{}", run.get("device"), label),
        ("seed {}", run.get("seed"), str),
    )
    return "  ·  ".join(text.format(how(value)) for text, value, how in parts if value is not None)
