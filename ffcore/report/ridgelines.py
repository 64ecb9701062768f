"""How the goodness of positive and negative data drew apart: histograms over epochs.

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
"""Histograms above each other; of more epochs, those at equal ratios: most happens early."""

ROOM = 0.9
"""Height of the highest bin; the next row begins at 1."""


@dataclass(frozen=True, slots=True)
class Ridges:
    """Histograms of one block over epochs.

    Args:
        epochs: (E,), growing.
        edges: (E, B + 1), growing along B.
        positive: (E, B) counts.
        negative: (E, B) counts.
        threshold: NaN where there is none.
    """

    epochs: Array
    edges: Array
    positive: Array
    negative: Array
    threshold: float

    @classmethod
    def of(cls, run: RunRecord, block: str) -> Ridges | None:
        """Those of a block; None where fewer than two epochs were measured.

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
        # a block that does not learn yet, or a view that is not there, has no counts
        there = np.isfinite(edges).all(1) & (positive.sum(1) > 0) & (negative.sum(1) > 0)
        if there.sum() < 2:
            return None
        return cls(epochs[there], edges[there], positive[there], negative[there], threshold)

    def shown(self) -> list[int]:
        """Rows that are drawn: the first, the last, and some at equal ratios between them."""
        count = len(self.epochs)
        if count <= MOST_EPOCHS:
            return list(range(count))
        wanted = np.geomspace(1, count, MOST_EPOCHS).round().astype(int) - 1
        for i in range(1, MOST_EPOCHS):  # where rounding made two alike, the next one
            wanted[i] = max(wanted[i], wanted[i - 1] + 1)
        return [int(row) for row in wanted]

    def densities(self, row: int) -> tuple[Array, Array]:
        """Both histograms as densities, the larger peak 1: (B,) each."""
        widths = np.diff(self.edges[row])
        both = [side[row] / side[row].sum() / widths for side in (self.positive, self.negative)]
        peak = max(values.max() for values in both)
        return both[0] / peak, both[1] / peak

    def limits(self) -> tuple[float, float]:
        """Goodness from the smallest to the largest, but for stragglers; with the threshold."""
        ends: list[float] = []
        for row in self.shown():
            both = np.cumsum(self.positive[row] + self.negative[row])
            first, last = np.searchsorted(both, [0.002 * both[-1], 0.998 * both[-1]])
            ends += [self.edges[row, first], self.edges[row, last + 1], self.threshold]
        return float(np.nanmin(ends)), float(np.nanmax(ends))


def draw_ridges(ax: Axes, ridges: Ridges, named: bool) -> None:
    """Histograms below each other, the first epoch at the top.

    Args:
        ax: where.
        ridges: of one block.
        named: whether the rows are named by their epochs.
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
