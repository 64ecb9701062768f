"""Figures of the generator's images, and the report section that contains them.

N images of C×H×W; L layers; K classes; M samples a class.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ffcore.report import Picture, RunRecord, Section
from ffcore.report.confusion import labels_of
from ffcore.report.images import mosaic
from ffcore.report.record import Array
from ffcore.report.style import WIDE, bare, label, mark, new_figure
from ffcore.report.text import markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_METRICS = (
    ("samples_as_asked", "samples that an independent classifier assigns to their class", "{:.1%}"),
    ("judge_accuracy", "accuracy of this classifier on real test images", "{:.1%}"),
    ("samples_to_train", "distance of a sample to the nearest training image, median", "{:.2f}"),
    ("test_to_train", "distance of a test image to the nearest training image, median", "{:.2f}"),
)


def generation(run: RunRecord) -> Section | None:
    """Show originals and reconstructions, samples of each class, and goodness by step."""
    if not {"originals", "reconstructions", "samples"} <= run.arrays.keys():
        return None
    concluded = run.get("concluded") or {}
    rows = [(what, form.format(concluded[name])) for name, what, form in _METRICS if name in concluded]
    rows += [
        (f"test images, {what} per pixel", f"{run.get('test', name):.4f}")
        for name, what in (
            ("reconstruction_mse", "squared error of reconstructions"),
            ("reconstruction_bce", "cross-entropy of reconstructions"),
        )
        if run.get("test", name) is not None
    ]
    pictures = []
    if is_image(run.arrays["originals"].shape[1:]):
        pictures = [_reconstructions(run), _samples(run)]
    if (steps := run.arrays.get("goodness_by_step")) is not None and steps.ndim == 3:
        pictures.append(_steps(run, steps))
    note = "If samples are much nearer to training images than test images are, they are copies."
    return Section("Generation", f"{markdown_table(('', ''), rows)}\n\n{note}", pictures)


def _reconstructions(run: RunRecord) -> Picture:
    pairs = np.concatenate([run.arrays["originals"], run.arrays["reconstructions"]])
    columns = len(run.arrays["originals"])
    figure = new_figure(WIDE, 2 * WIDE / columns + 0.1)
    _show(figure.add_subplot(), grid(pairs, columns))
    return Picture("reconstructions", figure, "Test images (top) and their reconstructions (bottom).")


def _samples(run: RunRecord) -> Picture:
    samples = run.arrays["samples"]
    classes, each = samples.shape[:2]
    figure = new_figure(WIDE, WIDE * min(classes, 20) / each)
    ax = figure.add_subplot()
    shown = samples[:20]
    _show(ax, grid(shown.reshape(-1, *samples.shape[2:]), each))
    weights = run.arrays.get("mixture/weights")
    if weights is not None and len(weights) == 1 < classes:
        return Picture("samples", figure, "New images, from the mixture of all top latents.")
    height = ax.get_ylim()[0] / len(shown)
    ax.set_yticks([(k + 0.5) * height for k in range(len(shown))], labels_of(run, classes)[: len(shown)])
    ax.tick_params(length=0)
    return Picture("samples", figure, "New images, one row per class, from the mixture of its top latents.")


def _steps(run: RunRecord, steps: Array) -> Picture:
    figure = new_figure(WIDE, 2.4)
    names = [name for name, kind in run.sources.items() if kind == "block"]
    for i, of_layer in enumerate(steps):
        ax = figure.add_subplot(1, len(steps), i + 1)
        at = np.arange(1, of_layer.shape[1] + 1)
        for values, what in zip(of_layer, ("own label", "wrong label"), strict=True):
            ax.plot(at, values, label=what, **mark(len(at)))
        ax.set_title(label(names[i]) if i < len(names) else f"layer {i + 1}")
        ax.set_xlabel("step")
        if i == 0:
            ax.set_ylabel("mean goodness")
            ax.legend()
    return Picture("goodness-by-step", figure, "Goodness of test samples while the circuit settles.")


def _show(ax: Axes, image: Array) -> None:
    ax.imshow(image, vmin=0, vmax=1, interpolation="nearest", aspect="equal")
    bare(ax)


def grid(images: Array, columns: int) -> Array:
    """Arrange images (N, C, H, W) in [0, 1] in one image (rows, columns, 3), ``columns`` images per row."""
    tiles = np.nan_to_num(images).clip(0, 1).transpose(0, 2, 3, 1)
    return mosaic(tiles.repeat(3 // images.shape[1], 3), columns)


def is_image(shape: tuple[int, ...]) -> bool:
    """Return whether samples of this shape are grey or colour images."""
    return len(shape) == 3 and shape[0] in (1, 3)


def save(path: Path, image: Array, zoom: int = 4) -> None:
    """Write an image (rows, columns, 3) as PNG; each pixel becomes ``zoom`` × ``zoom`` pixels."""
    from PIL import Image

    pixels = (image * 255).round().astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)
    Image.fromarray(pixels).save(path, format="PNG")
