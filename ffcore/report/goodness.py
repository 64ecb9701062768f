"""How well blocks separate positive from negative data: histograms of goodness, separation over epochs.

AUC: P(g₊ > g₋) + ½ P(g₊ = g₋) for the goodness of a positive and a negative sample.
Separation: mean goodness of positive minus mean goodness of negative data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ffcore.report.colours import colours_of
from ffcore.report.legend import shared_legend
from ffcore.report.record import Array, RunRecord
from ffcore.report.ridgelines import Ridges, draw_ridges
from ffcore.report.section import Picture, Section
from ffcore.report.style import (
    INK,
    MUTED,
    NEGATIVE,
    POSITIVE,
    WIDE,
    epoch_axis,
    label,
    mark,
    new_figure,
    spread,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

MOST = 8
"""Maximum number of histograms in a picture; of more blocks, evenly spaced ones are shown."""

PANEL = WIDE / 4
"""Width of a histogram in inches."""


def goodness(run: RunRecord) -> Section | None:
    """Returns the section with the goodness of positive and negative data; None if the run has none."""
    pictures = [draw for draw in (_over_epochs(run), _at_the_end(run), _separation(run)) if draw is not None]
    if not pictures:
        return None
    blocks = measured_blocks(run)
    rest = f" Shown are {MOST} of {len(blocks)} blocks, evenly spaced." if len(blocks) > MOST else ""
    sides = "are on different sides of its threshold θ" if has_threshold(run) else "do not overlap"
    body = f"A block separates positive from negative samples if its two histograms {sides}.{rest}"
    return Section("Goodness", body if blocks else "", pictures)


def _over_epochs(run: RunRecord) -> Picture | None:
    by_block = {name: ridges for name in run.blocks if (ridges := Ridges.of(run, name)) is not None}
    if not by_block:
        return None
    names = spread(list(by_block), MOST)
    columns, rows = grid_of(len(names))
    most = max(len(by_block[name].shown()) for name in names)
    figure = new_figure(max(columns * PANEL, 3.6), rows * (0.34 * most + 0.55) + 0.35)
    for i, name in enumerate(names):
        ax = figure.add_subplot(rows, columns, i + 1)
        same = i % columns and np.array_equal(by_block[name].epochs, by_block[names[i - 1]].epochs)
        draw_ridges(ax, by_block[name], named=not same)
        ax.set_title(label(name))
        if i % columns == 0:
            ax.set_ylabel("epoch")
        if i >= len(names) - columns:
            ax.set_xlabel("goodness")
    _keys(figure, threshold=any(np.isfinite(by_block[name].threshold) for name in names))
    caption = (
        "Histograms of the goodness of positive and negative validation samples after several epochs. Every "
        "row is scaled to its highest bin."
    )
    return Picture("goodness-epochs", figure, caption)


def _at_the_end(run: RunRecord) -> Picture | None:
    if not (blocks := measured_blocks(run)):
        return None
    columns, rows = grid_of(min(len(blocks), MOST))
    figure = new_figure(max(columns * PANEL, 3.6), 1.75 * rows + 0.35)
    draw_histograms(figure, run)
    caption = (
        "Goodness of positive and negative validation samples at the end of training. AUC: the probability "
        "that a positive sample has a larger goodness than a negative one."
    )
    return Picture("goodness", figure, caption)


def _separation(run: RunRecord) -> Picture | None:
    if not any(len(run.series(f"{name}/separation")[0]) for name in run.blocks):
        return None
    figure = new_figure(5.4, 2.9)
    draw_separation(figure.add_subplot(), run)
    shared_legend(figure, figure.axes, run.blocks, loc="outside upper right")
    caption = "Mean goodness of positive minus that of negative training data, over epochs."
    return Picture("separation", figure, caption)


def measured_blocks(run: RunRecord) -> list[str]:
    """Returns the blocks with goodness of both positive and negative samples."""
    return [
        name
        for name in run.blocks
        if len(run.sample(f"goodness/{name}/positive")) and len(run.sample(f"goodness/{name}/negative"))
    ]


def has_threshold(run: RunRecord) -> bool:
    """Whether any block has a threshold between positive and negative goodness."""
    return any(len(run.sample(f"threshold/{name}")) == 1 for name in run.blocks)


def grid_of(panels: int) -> tuple[int, int]:
    """Returns columns and rows for a number of panels: one row up to four panels, then two."""
    columns = panels if panels <= 4 else -(-panels // 2)
    return columns, -(-panels // columns)


def auc(positive: Array, negative: Array) -> float:
    """Returns the probability that a positive value exceeds a negative one; ties count ½."""
    ordered = np.sort(negative)
    # "left" counts the smaller negatives, "right" also the equal ones: their mean counts ties as ½
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / (2 * len(negative)))


def draw_histograms(figure: FigureBase, run: RunRecord) -> None:
    """Draw one small histogram per block, and one legend for all."""
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
    """Draw the legend of histograms."""
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
        # weights instead of density=True: the heights of both histograms are shares of their samples
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
    # Labels at the ends would reach into the neighbouring panels.
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, prune="both"))
    ax.set_title(label(name, 14))
    ax.set_title(
        f"AUC {auc(positive, negative):.3f}", loc="right", color=MUTED, fontweight="normal", fontsize=7.5
    )


def _edges(samples: Sequence[Array], threshold: Array) -> list[float]:
    """Returns the edges of bins for 99.6 % of both samples and the threshold; the end bins have the rest."""
    everything = np.concatenate(samples)
    # twice the square root of the sample size, limited to what a small panel can show
    bins = int(np.clip(2 * np.sqrt(min(map(len, samples))), 12, 40))
    low, high = np.quantile(everything, [0.002, 0.998])
    low, high = min([low, *threshold]), max([high, *threshold])  # the threshold may be empty
    scale = max(abs(low), abs(high))
    # bins narrower than the floating-point resolution would have width 0
    room = 0.04 * (high - low) if high - low > 1e-9 * scale else 0.1 * (scale or 1.0)
    return list(np.linspace(low - room, high + room, bins + 1))


def draw_separation(ax: Axes, run: RunRecord) -> None:
    """Draw the separation of every block over epochs."""
    colours = colours_of(run)
    for name in run.blocks:
        epochs, values = run.series(f"{name}/separation")
        if len(epochs):
            ax.plot(epochs, values, color=colours[name], label=name, **mark(len(epochs)))
    ax.axhline(0, color=MUTED, lw=0.7)
    epoch_axis(ax)
    ax.set_ylabel("positive − negative goodness")
    ax.set_title("Separation")
