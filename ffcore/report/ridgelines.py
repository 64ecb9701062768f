"""Ridgeline plots: histograms of the goodness of positive and negative data over epochs.

E epochs, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ffcore.report.record import Array, RunRecord
from ffcore.report.style import INK, MUTED, NEGATIVE, POSITIVE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_EPOCHS = 8
"""Maximum number of histograms; of more epochs, those at equal ratios, since most changes are early."""

ROOM = 0.9
"""Height of the highest bin; the distance of rows is 1."""


@dataclass(frozen=True, slots=True)
class Ridges:
    """Histograms of one block over epochs.

    Args:
        epochs: (E,), increasing.
        edges: (E, B + 1), increasing along B.
        positive: (E, B) counts.
        negative: (E, B) counts.
        threshold: NaN if the block has none.
    """

    epochs: Array
    edges: Array
    positive: Array
    negative: Array
    threshold: float

    @classmethod
    def of(cls, run: RunRecord, block: str) -> Ridges | None:
        """Returns the histograms of a block; None if fewer than two epochs were measured.

        Raises:
            ValueError: the arrays do not fit each other.
        """
        names = ("epochs", *(f"{block}/{part}" for part in ("edges", "positive", "negative")))
        if any(f"history/{name}" not in run.arrays for name in names):
            return None
        epochs, edges, positive, negative = (run.arrays[f"history/{name}"].astype(float) for name in names)
        count, bins = len(epochs), positive.shape[-1]
        threshold = float(run.arrays.get(f"threshold/{block}", np.nan))
        shapes = edges.shape, positive.shape, negative.shape
        if shapes != ((count, bins + 1), (count, bins), (count, bins)):
            raise ValueError(f"history/{block}: shapes {shapes} do not fit {count} epochs")
        # an epoch has no counts if all values of a view were non-finite
        valid = np.isfinite(edges).all(1) & (positive.sum(1) > 0) & (negative.sum(1) > 0)
        if valid.sum() < 2:
            return None
        return cls(epochs[valid], edges[valid], positive[valid], negative[valid], threshold)

    def shown(self) -> list[int]:
        """Returns the rows to draw: the first, the last, and some at equal ratios between them."""
        count = len(self.epochs)
        if count <= MOST_EPOCHS:
            return list(range(count))
        wanted = np.geomspace(1, count, MOST_EPOCHS).round().astype(int) - 1
        for i in range(1, MOST_EPOCHS):  # rounding may give the same row twice: take the next one
            wanted[i] = max(wanted[i], wanted[i - 1] + 1)
        return [int(row) for row in wanted]

    def densities(self, row: int) -> tuple[Array, Array]:
        """Returns both histograms as densities (B,), scaled so that the larger peak is 1."""
        widths = np.diff(self.edges[row])
        both = [side[row] / side[row].sum() / widths for side in (self.positive, self.negative)]
        peak = max(values.max() for values in both)
        return both[0] / peak, both[1] / peak

    def limits(self) -> tuple[float, float]:
        """Returns the range of goodness: 99.6 % of the samples of all rows, and the threshold."""
        ends: list[float] = []
        for row in self.shown():
            both = np.cumsum(self.positive[row] + self.negative[row])
            first, last = np.searchsorted(both, [0.002 * both[-1], 0.998 * both[-1]])
            ends += [self.edges[row, first], self.edges[row, last + 1], self.threshold]
        return float(np.nanmin(ends)), float(np.nanmax(ends))


def draw_ridges(ax: Axes, ridges: Ridges, named: bool) -> None:
    """Draw the histograms below each other, the first epoch at the top.

    Args:
        ax: the axes.
        ridges: the histograms of one block.
        named: whether to label the rows with their epochs.
    """
    from matplotlib.ticker import MaxNLocator

    rows = ridges.shown()
    floors = [float(len(rows) - 1 - place) for place in range(len(rows))]
    for floor, row in zip(floors, rows, strict=True):
        ax.axhline(floor, color=MUTED, lw=0.5)
        for height, colour in zip(ridges.densities(row), (POSITIVE, NEGATIVE), strict=True):
            top, edges = floor + ROOM * height, ridges.edges[row]
            ax.stairs(top, edges, baseline=floor, fill=True, color=colour, alpha=0.42, lw=0)
            ax.stairs(top, edges, baseline=floor, color=colour, lw=0.8)
        ax.plot([ridges.threshold] * 2, [floor, floor + ROOM], color=INK, lw=0.9, ls=(0, (3, 2)))
    low, high = ridges.limits()
    ax.set_xlim(low, high)
    ax.set_ylim(-0.02, len(rows))
    ax.set_yticks(floors, [f"{ridges.epochs[row]:g}" for row in rows] if named else [])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.spines["bottom"].set_visible(False)
    ax.grid(False)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=4, prune="both"))
