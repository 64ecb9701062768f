"""Sections of the report: the classes of the channels, and the weights of the layers.

C channels; K columns of goodness, the classes or super-classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcore.report import Picture, RunRecord, Section
from ffcore.report.colours import colours_of
from ffcore.report.confusion import labels_of
from ffcore.report.legend import shared_legend
from ffcore.report.record import Array
from ffcore.report.style import FRAME, MUTED, WIDE, epoch_axis, label, mark, new_figure, spread
from ffcore.report.text import code
from ffcore_channel.weights import ENTROPY_WEIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 8
"""Maximum number of blocks in one figure; of deeper networks evenly spaced blocks are shown."""

MOST_NAMES = 20
"""Maximum number of columns with a name for each."""

FAINT = 4
"""Multiple of 1/K that is drawn dark, so that channels with equal shares for all classes look pale."""


def channels(run: RunRecord) -> Section | None:
    """Show the assignment of every block, the array ``assignment/BLOCK`` (C, K); None without one."""
    assignments = {name: shares for name in run.blocks if (shares := _shares(run, name)) is not None}
    pictures = [_maps(run, assignments)] if assignments else []
    pictures += [picture for picture in (_entropies(run),) if picture is not None]
    if not pictures:
        return None
    count = len(assignments)
    rest = f" {MOST} of {count} blocks are shown, evenly spaced." if count > MOST else ""
    body = (
        "Entropy: mean over a block's channels, divided by ln K. It is 0 if each channel has one class, and "
        f"1 if each channel has equal shares for all classes.{rest}"
    )
    return Section("Channels and classes", body, pictures)


def layer_weights(run: RunRecord) -> Section | None:
    """Show the weights of a layer contribution, the array ``contribution/weights`` (L,)."""
    weights, names = run.sample("contribution/weights"), list(run.sources)
    if not len(weights) or len(weights) != len(names):
        return None
    colours = colours_of(run)
    figure = new_figure(5.4, 0.75 + 0.26 * len(names))
    ax = figure.add_subplot()
    places = range(len(names))
    drawn = ax.barh(places, weights, color=[colours.get(name, MUTED) for name in names], height=0.66)
    ax.bar_label(drawn, [f"{weight:.3g}" for weight in weights], padding=4, fontsize=7.5)
    ax.set_yticks(places, list(map(label, names)))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.margins(x=0.12)
    ax.set_xlim(left=0)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("weight of its evidence")
    how = f" by {code(run.get('contribution'))}" if run.get("contribution") else ""
    caption = "Weight of each source of evidence in the prediction."
    return Section("Layer weights", f"Combined{how}.", [Picture("layer-weights", figure, caption)])


def entropy_of(shares: Array) -> float:
    """Return the mean entropy of the rows, divided by ln K.

    >>> entropy_of(np.full((3, 4), 0.25)), entropy_of(np.eye(4))
    (1.0, 0.0)
    """
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return abs(float(-(shares * logs).sum(1).mean() / math.log(shares.shape[1])))


def _shares(run: RunRecord, name: str) -> Array | None:
    shares = np.asarray(run.arrays.get(f"assignment/{name}", ()), dtype=float)
    return shares if shares.ndim == 2 and shares.shape[1] > 1 and np.isfinite(shares).all() else None


def _maps(run: RunRecord, assignments: Mapping[str, Array]) -> Picture:
    names = spread(list(assignments), MOST)
    columns = min(len(names), 4)
    # Rounded up.
    rows = -(-len(names) // columns)
    figure = new_figure(max(columns * WIDE / 4, 3.6), 2.1 * rows + 0.2)
    for i, name in enumerate(names):
        ax = figure.add_subplot(rows, columns, i + 1)
        shares = assignments[name]
        _draw_map(ax, shares, labels_of(run, shares.shape[1]), named=i % columns == 0)
        ax.set_title(label(name, 14))
        ax.set_title(
            f"entropy {entropy_of(shares):.2f}",
            loc="right",
            color=MUTED,
            fontweight="normal",
            fontsize=7,
        )
        if i >= len(names) - columns:
            ax.set_xlabel("channels, by class")
    caption = (
        "Share of each class in each channel (darker: larger). Channels are ordered by the class of their "
        "largest share. Each block has its own scale, from 0 to the larger of its largest share and "
        f"{FAINT}/K."
    )
    return Picture("channel-classes", figure, caption)


def _draw_map(ax: Axes, shares: Array, names: list[str], named: bool) -> None:
    order = np.lexsort((-shares.max(1), shares.argmax(1)))
    most = max(shares.max(), FAINT / shares.shape[1])
    ax.imshow(shares[order].T, aspect="auto", interpolation="nearest", cmap="Blues", vmin=0, vmax=most)
    shown = np.arange(0, len(names), 1 if len(names) <= MOST_NAMES else -(-len(names) // 10))
    ax.set_yticks(shown, [names[k] for k in shown] if named else [""] * len(shown))
    ax.set_xticks([0, len(shares) - 1], ["1", f"{len(shares)}"])
    ax.tick_params(length=0, pad=2)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set(visible=True, color=FRAME)


def _entropies(run: RunRecord) -> Picture | None:
    """Plot the entropy over epochs, from the penalty's term in the metrics."""
    lines = {name: line for name in run.blocks if (line := _entropy_series(run, name)) is not None}
    if not lines:
        return None
    figure = new_figure(5.4, 2.9)
    ax = figure.add_subplot()
    colours = colours_of(run)
    for name, (epochs, values) in lines.items():
        ax.plot(epochs, values, color=colours[name], label=name, **mark(len(epochs)))
    ax.set_ylim(0, 1.05)
    epoch_axis(ax)
    ax.set_ylabel("entropy / ln K")
    ax.set_title("Entropy of the assignment")
    shared_legend(figure, figure.axes, run.blocks, loc="outside upper right")
    caption = "Mean entropy of the channels' distributions over the classes, by epoch."
    return Picture("channel-entropy", figure, caption)


def _entropy_series(run: RunRecord, block: str) -> tuple[Array, Array] | None:
    shares = _shares(run, block)
    if shares is None:
        return None
    for penalty, scales in _scales(run.config, *shares.shape).items():
        epochs, term = run.series(f"{block}/{penalty}")
        # A run does not store which network item made a block. If items have different weights, that of
        # this block is unknown.
        if len(epochs) and len(scales) == 1 and (scale := scales.pop()):
            return epochs, term * scale
    return None


def _scales(config: Mapping[str, Any], size: int, classes: int) -> dict[str, set[float]]:
    """Return the factors from an entropy penalty's term to a share of ln K, by the penalty's name.

    There are several factors if network items have penalties with different weights.
    """
    scales: dict[str, set[float]] = {}
    for holder in _holders({**config, "items": config.get("network")}):
        block = holder.get("block")
        penalties = block.get("penalties") if isinstance(block, Mapping) else None
        for name, options in (penalties or {}).items():
            if isinstance(options, Mapping) and options.get("kind") == "assignment-entropy":
                scales.setdefault(name, set()).add(_scale(options, size, classes))
    return scales


def _holders(holder: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the recipe, then its network items and their nested items."""
    yield holder
    items = holder.get("items")
    for item in items if isinstance(items, list) else []:
        if isinstance(item, Mapping):
            yield from _holders(item)


def _scale(options: Mapping[str, Any], size: int, classes: int) -> float:
    form = options.get("form", "scale-free")
    weight = options.get("weight")
    if weight is None:
        weight = ENTROPY_WEIGHT[form]
    if not weight:
        return 0.0
    return (classes / (size * math.log(classes)) if form == "released" else 1.0) / weight
