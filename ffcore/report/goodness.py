"""Whether blocks tell positive from negative data: histograms of goodness, and separation over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ffcore.report.colours import colours_of
from ffcore.report.legend import shared_legend
from ffcore.report.record import Array, RunRecord
from ffcore.report.ridgelines import Ridges, draw_ridges
from ffcore.report.section import Picture, Section
from ffcore.report.style import INK, MUTED, NEGATIVE, POSITIVE, WIDE, epoch_axis, mark, new_figure, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

MOST = 8
"""Histograms in one picture; deeper networks show evenly spaced blocks."""

PANEL = WIDE / 4
"""Inches of one of them."""


def goodness(run: RunRecord) -> Section | None:
    """Goodness of positive and negative data in every block; None where there is no such thing."""
    pictures = [draw for draw in (_over_epochs(run), _at_the_end(run), _separation(run)) if draw is not None]
    if not pictures:
        return None
    blocks = measured_blocks(run)
    rest = f" Of {len(blocks)} blocks {MOST} are shown, evenly spaced." if len(blocks) > MOST else ""
    sides = "on the two sides of its threshold θ" if has_threshold(run) else "apart"
    body = f"A block separates when its two histograms lie {sides}.{rest}"
    return Section("Goodness", body if blocks else "", pictures)


def _over_epochs(run: RunRecord) -> Picture | None:
    found = {name: ridges for name in run.blocks if (ridges := Ridges.of(run, name)) is not None}
    if not found:
        return None
    names = spread(list(found), MOST)
    columns, rows = grid_of(len(names))
    most = max(len(found[name].shown()) for name in names)
    figure = new_figure(max(columns * PANEL, 3.6), rows * (0.34 * most + 0.55) + 0.35)
    for i, name in enumerate(names):
        ax = figure.add_subplot(rows, columns, i + 1)
        same = i % columns and np.array_equal(found[name].epochs, found[names[i - 1]].epochs)
        draw_ridges(ax, found[name], named=not same)
        ax.set_title(name)
        if i % columns == 0:
            ax.set_ylabel("epoch")
        if i >= len(names) - columns:
            ax.set_xlabel("goodness")
    _keys(figure, threshold=any(np.isfinite(found[name].threshold) for name in names))
    caption = (
        "Goodness of positive and negative samples on validation data after an epoch, from the first to the "
        "last. Every row is scaled to its own highest bin."
    )
    return Picture("goodness-epochs", figure, caption)


def _at_the_end(run: RunRecord) -> Picture | None:
    if not (blocks := measured_blocks(run)):
        return None
    columns, rows = grid_of(min(len(blocks), MOST))
    figure = new_figure(max(columns * PANEL, 3.6), 1.75 * rows + 0.35)
    draw_histograms(figure, run)
    caption = (
        "Goodness of positive and negative samples on validation data at the end of training. "
        "AUC: the probability that a positive sample has the larger goodness of the two."
    )
    return Picture("goodness", figure, caption)


def _separation(run: RunRecord) -> Picture | None:
    if not any(len(run.series(f"{name}/separation")[0]) for name in run.blocks):
        return None
    figure = new_figure(5.4, 2.9)
    draw_separation(figure.add_subplot(), run)
    shared_legend(figure, figure.axes, run.blocks, loc="outside upper right")
    caption = "Mean goodness of positive less that of negative training data, over epochs."
    return Picture("separation", figure, caption)


def measured_blocks(run: RunRecord) -> list[str]:
    """Blocks with samples of both goodnesses."""
    return [
        name
        for name in run.blocks
        if len(run.sample(f"goodness/{name}/positive")) and len(run.sample(f"goodness/{name}/negative"))
    ]


def has_threshold(run: RunRecord) -> bool:
    """Whether any block has a goodness that parts positive from negative."""
    return any(len(run.sample(f"threshold/{name}")) == 1 for name in run.blocks)


def grid_of(panels: int) -> tuple[int, int]:
    """Columns and rows for this many panels: one row up to four, then two."""
    columns = panels if panels <= 4 else -(-panels // 2)
    return columns, -(-panels // columns)


def auc(positive: Array, negative: Array) -> float:
    """Probability that a positive value exceeds a negative one; ties count a half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / (2 * len(negative)))


def draw_histograms(figure: FigureBase, run: RunRecord) -> None:
    """One small histogram a block, and one legend for all."""
    names = spread(measured_blocks(run), MOST)
    columns, rows = grid_of(len(names))
    for i, name in enumerate(names):
        ax = figure.add_subplot(rows, columns, i + 1)
        _draw_one(ax, run, name, run.sample(f"threshold/{name}"))
        if i % columns == 0:
            ax.set_ylabel("share")
        if i >= len(names) - columns:
            ax.set_xlabel("goodness")
    _keys(figure, has_threshold(run))


def _keys(figure: FigureBase, threshold: bool) -> None:
    """The legend of histograms."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys: list[Patch | Line2D] = [
        Patch(color=POSITIVE, alpha=0.6, label="positive"),
        Patch(color=NEGATIVE, alpha=0.6, label="negative"),
    ]
    if threshold:
        keys.append(Line2D([], [], color=INK, lw=1, ls="--", label="threshold θ"))
    figure.legend(handles=keys, loc="outside upper right", ncols=len(keys))


def _draw_one(ax: Axes, run: RunRecord, name: str, threshold: Array) -> None:
    from matplotlib.ticker import MaxNLocator

    positive, negative = (run.sample(f"goodness/{name}/{side}") for side in ("positive", "negative"))
    edges = _edges([positive, negative], threshold)
    for values, colour in ((positive, POSITIVE), (negative, NEGATIVE)):
        share = np.full(len(values), 1 / len(values))
        inside = values.clip(edges[0], edges[-1])
        ax.hist(inside, edges, weights=share, color=colour, histtype="stepfilled", alpha=0.42, lw=0)
        ax.hist(inside, edges, weights=share, color=colour, histtype="step", lw=1.1)
    if len(threshold) == 1:
        ax.axvline(float(threshold[0]), color=INK, lw=1, ls="--")
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(False)
    ax.set_xlim(edges[0], edges[-1])
    # Labels at the very ends would push the neighbours aside.
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, prune="both"))
    ax.set_title(name)
    ax.set_title(
        f"AUC {auc(positive, negative):.3f}", loc="right", color=MUTED, fontweight="normal", fontsize=7.5
    )


def _edges(samples: Sequence[Array], threshold: Array) -> list[float]:
    """Bins that hold the bulk of both samples and the threshold; what lies outside counts in the end bins."""
    everything = np.concatenate(samples)
    bins = int(np.clip(2 * np.sqrt(min(map(len, samples))), 12, 40))
    low, high = np.quantile(everything, [0.002, 0.998])
    low, high = min([low, *threshold]), max([high, *threshold])
    scale = max(abs(low), abs(high))
    # bins that are finer than floating point would have no width
    room = 0.04 * (high - low) if high - low > 1e-9 * scale else 0.1 * (scale or 1.0)
    return list(np.linspace(low - room, high + room, bins + 1))


def draw_separation(ax: Axes, run: RunRecord) -> None:
    """Separation of every block over epochs."""
    colours = colours_of(run)
    for name in run.blocks:
        epochs, values = run.series(f"{name}/separation")
        if len(epochs):
            ax.plot(epochs, values, color=colours[name], label=name, **mark(len(epochs)))
    ax.axhline(0, color=MUTED, lw=0.7)
    epoch_axis(ax)
    ax.set_ylabel("positive − negative goodness")
    ax.set_title("Separation")
