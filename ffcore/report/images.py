"""Receptive fields of first-block units, and misclassified samples.

U units; C channels, H rows, W columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffcore.report.confusion import labels_of
from ffcore.report.record import Array, RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.style import INK, WIDE, bare, new_figure
from ffcore.report.text import literal, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase


LEAST_LIKENESS = 0.1
"""Least `likeness` of weights that are drawn."""


def receptive_fields(run: RunRecord) -> Section | None:
    """Returns the section with the weights of the first block's units; None if they are not images."""
    fields = weights_of(run)
    if fields is None:
        return None
    name, weights = fields
    side = 5.6 if len(weights) > 16 else 3.6
    figure = new_figure(side, side)
    ax = figure.add_subplot()
    draw_receptive(ax, weights, columns=int(np.ceil(np.sqrt(len(weights)))))
    how = (
        "grey is zero in each colour channel"
        if weights.shape[1] == 3
        else "red is positive, blue is negative, white is zero"
    )
    if weights.shape[1] not in (1, 3):
        how += f"; mean over {weights.shape[1]} channels"
    caption = (
        f"Input weights of the {plural(len(weights), 'unit')} of {literal(name)} with the largest weight "
        f"norm, the largest first; {how}; one colour scale for all units."
    )
    return Section("Receptive fields", "", [Picture("receptive", figure, caption)])


def weights_of(run: RunRecord) -> tuple[str, Array] | None:
    """Returns the first block whose weights are images, and the weights (U, C, H, W).

    None also for weights that look like noise: see `likeness`.
    """
    for key, weights in run.arrays.items():
        if key.startswith("receptive/") and weights.ndim == 4 and min(weights.shape[2:]) > 1 and len(weights):
            # weights of a diverged run may be non-finite
            finite = np.nan_to_num(weights.astype(float), posinf=0, neginf=0)
            return (key.removeprefix("receptive/"), finite) if likeness(finite) > LEAST_LIKENESS else None
    return None


def likeness(weights: Array) -> float:
    """Return the correlation between the weights of neighbouring pixels, over all units (U, C, H, W).

    About 0 for independent weights, such as initial ones; small filters, up to 7×7, always count as alike.
    """
    if max(weights.shape[2:]) < 8:
        return 1.0
    centred = weights - weights.mean((2, 3), keepdims=True)
    pairs = ((centred[..., 1:], centred[..., :-1]), (centred[..., 1:, :], centred[..., :-1, :]))
    products = sum(float((a * b).sum()) for a, b in pairs)
    squares = sum(float(((a * a).sum() * (b * b).sum()) ** 0.5) for a, b in pairs)
    return products / squares if squares else 0.0


def draw_receptive(ax: Axes, weights: Array, columns: int) -> None:
    """Draw weights (U, C, H, W) as tiles, ``columns`` per row, on one colour scale."""
    coloured = weights.shape[1] == 3
    # Pixels with an embedded label have much larger weights than the others: they must not set the scale.
    scale = float(np.quantile(np.abs(weights), 0.995)) or 1.0
    if coloured:
        tiles = (0.5 + weights / (2 * scale)).clip(0, 1).transpose(0, 2, 3, 1)
    else:
        tiles = _diverging(weights.mean(1) / scale)
    ax.imshow(_enlarged(tiles, columns), interpolation="auto")  # not "nearest": large tiles are drawn smaller
    bare(ax)


def _diverging(values: Array) -> Array:
    from matplotlib import colormaps

    return np.asarray(colormaps["RdBu_r"](0.5 + values.clip(-1, 1) / 2))[..., :3]


def _enlarged(tiles: Array, columns: int) -> Array:
    """(U, H, W, 3) → one image. Pixels are enlarged first, so that the gaps are thin in comparison."""
    side = max(tiles.shape[1:3])
    zoom = max(1, 48 // side)  # small tiles get at least 25 pixels
    return mosaic(tiles.repeat(zoom, 1).repeat(zoom, 2), columns, gap=max(1, side * zoom // 12))


def mosaic(tiles: Array, columns: int, gap: int = 1) -> Array:
    """(U, H, W, 3) → one image with ``columns`` tiles per row and white gaps of ``gap`` pixels."""
    units, height, width, _ = tiles.shape
    rows = -(-units // columns)  # rounded up
    image = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        image[top : top + height, left : left + width] = tile
    return image


def misclassified(run: RunRecord) -> Section | None:
    """Returns the section with misclassified test samples; None if the run has stored no examples."""
    if "examples/x" not in run.arrays:
        return None
    wrong = mistakes_of(run)
    if not len(wrong):
        return Section("Misclassified", "None of the test samples kept for pictures is misclassified.")
    columns = min(len(wrong), 9)
    rows = -(-len(wrong) // columns)
    figure = new_figure(max(WIDE / 9 * columns, 1.2), 0.98 * rows)
    draw_mistakes(figure, run, wrong, columns)
    caption = "Misclassified test samples: true class → predicted class."
    return Section("Misclassified", "", [Picture("misclassified", figure, caption)])


def mistakes_of(run: RunRecord) -> Array:
    """Returns the indices of the misclassified examples."""
    keys = [f"examples/{name}" for name in ("x", "y", "predicted")]
    if any(key not in run.arrays for key in keys) or run.arrays["examples/x"].ndim != 4:
        return np.array([], dtype=int)
    return np.flatnonzero(run.arrays["examples/y"] != run.arrays["examples/predicted"])


def draw_mistakes(figure: FigureBase, run: RunRecord, wrong: Array, columns: int) -> None:
    """Draw the examples with these indices, ``columns`` per row."""
    x, y, predicted = (run.arrays[f"examples/{name}"] for name in ("x", "y", "predicted"))
    # K may be unknown in an old run: it is at least the largest class that occurs
    names = labels_of(run, max(int(y.max()), int(predicted.max()), len(run.classes) - 1) + 1)
    rows = -(-len(wrong) // columns)
    for place, i in enumerate(wrong):
        ax = figure.add_subplot(rows, columns, place + 1)
        image = x[i].transpose(1, 2, 0) if x.shape[1] == 3 else x[i].mean(0)
        ax.imshow(image.clip(0, 1), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        bare(ax)
        true, guess = names[int(y[i])], names[int(predicted[i])]
        short = len(true) + len(guess) <= 6
        text = f"{true} → {guess}" if short else f"{true}\n→ {guess}"
        ax.set_title(text, fontsize=7.5 if short else 6, loc="center", fontweight="normal", color=INK, pad=2)
