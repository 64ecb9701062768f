"""Pictures of pictures: what first-layer units look for, and samples that were misclassified.

U units; C, H, W channels, height and width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffcore.report.confusion import names_of
from ffcore.report.record import Array, RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.style import INK, WIDE, bare, new_figure
from ffcore.report.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase


def receptive_fields(run: RunRecord) -> Section | None:
    """Weights of units of the first block; None where they are no images."""
    found = weights_of(run)
    if found is None:
        return None
    name, weights = found
    side = 5.6 if len(weights) > 16 else 3.6
    figure = new_figure(side, side)
    ax = figure.add_subplot()
    draw_receptive(ax, weights, columns=int(np.ceil(np.sqrt(len(weights)))))
    how = (
        "colours are weights around grey"
        if weights.shape[1] == 3
        else "red is positive, blue negative, white zero"
    )
    if weights.shape[1] not in (1, 3):
        how += f"; mean over {weights.shape[1]} channels"
    caption = (
        f"Input weights of the {plural(len(weights), 'unit')} of {name} with the largest weight norm, "
        f"the largest first; {how}; one scale for all units."
    )
    return Section("Receptive fields", "", [Picture("receptive", figure, caption)])


def weights_of(run: RunRecord) -> tuple[str, Array] | None:
    """The first block with weights that are images, and these (U, C, H, W)."""
    for key, weights in run.arrays.items():
        if key.startswith("receptive/") and weights.ndim == 4 and min(weights.shape[2:]) > 1 and len(weights):
            return key.removeprefix("receptive/"), np.nan_to_num(weights.astype(float), posinf=0, neginf=0)
    return None


def draw_receptive(ax: Axes, weights: Array, columns: int) -> None:
    """Tiles of weights (U, C, H, W), so many to a row, on one scale."""
    coloured = weights.shape[1] == 3
    # The few pixels that carry a label have weights far beyond the others': do not let them set the scale.
    scale = float(np.quantile(np.abs(weights), 0.995)) or 1.0
    if coloured:
        tiles = (0.5 + weights / (2 * scale)).clip(0, 1).transpose(0, 2, 3, 1)
    else:
        tiles = _diverging(weights.mean(1) / scale)
    ax.imshow(_enlarged(tiles, columns), interpolation="auto")  # large tiles may have to shrink
    bare(ax)


def _diverging(values: Array) -> Array:
    from matplotlib import colormaps

    return np.asarray(colormaps["RdBu_r"](0.5 + values.clip(-1, 1) / 2))[..., :3]


def _enlarged(tiles: Array, columns: int) -> Array:
    """(U, H, W, 3) → one image; pixels are enlarged so that the gaps stay thin."""
    side = max(tiles.shape[1:3])
    zoom = max(1, 48 // side)
    return mosaic(tiles.repeat(zoom, 1).repeat(zoom, 2), columns, gap=max(1, side * zoom // 12))


def mosaic(tiles: Array, columns: int, gap: int = 1) -> Array:
    """(U, H, W, 3) → one image, so many tiles to a row, with white gaps of so many pixels."""
    units, height, width, _ = tiles.shape
    rows = -(-units // columns)
    image = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        image[top : top + height, left : left + width] = tile
    return image


def misclassified(run: RunRecord) -> Section | None:
    """Test samples that were taken for another class; None where no examples were kept."""
    if "examples/x" not in run.arrays:
        return None
    wrong = mistakes_of(run)
    if not len(wrong):
        return Section("Misclassified", "None of the samples that were kept is misclassified.")
    columns = min(len(wrong), 9)
    rows = -(-len(wrong) // columns)
    figure = new_figure(max(WIDE / 9 * columns, 1.2), 0.98 * rows)
    draw_mistakes(figure, run, wrong, columns)
    caption = "Misclassified test samples: true class → prediction."
    return Section("Misclassified", "", [Picture("misclassified", figure, caption)])


def mistakes_of(run: RunRecord) -> Array:
    """Indices of the examples that are misclassified; empty where there are none."""
    keys = [f"examples/{name}" for name in ("x", "y", "predicted")]
    if any(key not in run.arrays for key in keys) or run.arrays["examples/x"].ndim != 4:
        return np.array([], dtype=int)
    return np.flatnonzero(run.arrays["examples/y"] != run.arrays["examples/predicted"])


def draw_mistakes(figure: FigureBase, run: RunRecord, wrong: Array, columns: int) -> None:
    """The examples with these indices, so many to a row."""
    x, y, predicted = (run.arrays[f"examples/{name}"] for name in ("x", "y", "predicted"))
    names = names_of(run, max(int(y.max()), int(predicted.max()), len(run.classes) - 1) + 1)
    rows = -(-len(wrong) // columns)
    for place, i in enumerate(wrong):
        ax = figure.add_subplot(rows, columns, place + 1)
        image = x[i].transpose(1, 2, 0) if x.shape[1] == 3 else x[i].mean(0)
        ax.imshow(image.clip(0, 1), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        bare(ax)
        told, said = names[int(y[i])], names[int(predicted[i])]
        short = len(told) + len(said) <= 6
        text = f"{told} → {said}" if short else f"{told}\n→ {said}"
        ax.set_title(text, fontsize=7.5 if short else 6, loc="center", fontweight="normal", color=INK, pad=2)
