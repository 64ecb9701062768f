"""The shortest path through a map as a black box, and maps of handwritten digits to try it on.

    cost of a cell           c = softplus(l_0 − l_1) = −ln p_1,  p = softmax(l)
    path                     of least Σ c from the first cell to the last, by steps to the four neighbours
    output                   1 on the path, else 0

R maps; H rows and W columns of cells; l (R, 2, H, W) logits of a cell, channel 1 for "on the path". The path
has the largest product of p_1 over its cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from torch import Tensor
from torch.nn import functional as F

from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.interfaces import BlackBox, Context
from ffcore.options import Count, Natural, Size
from ffcore.parts import part
from ffcore.tasks import PixelClassification

Array = np.ndarray[Any, Any]

LEAST = 1e-6
"""Smallest cost of a cell: to the solver an edge of length 0 is no edge."""


class ShortestPath(BlackBox):
    """Dijkstra's shortest path through a map of cells; see the formulas of this module.

    Args:
        rows: maximum number of maps of one call; None: any number.
    """

    examples = ({"rows": 2},)
    example_shape = (2, 4, 3)

    def __init__(self, rows: Count | None = None) -> None:
        super().__init__()
        self.limit = rows

    def setup(self, context: Context) -> None:
        """See `ffcore.interfaces.BlackBox.setup`.

        Raises:
            ValueError: when a sample is not a map of two channels.
        """
        shape = context.shape
        if len(shape) != 3 or shape[0] != 2:
            raise ValueError(f"shortest-path: needs maps (2, H, W) of two logits a cell, not {shape}")

    def forward(self, x: Tensor) -> Array:
        """(R, 2, H, W) → (R, 1, H, W).

        Raises:
            ValueError: when a logit is not finite.
        """
        if not x.isfinite().all():
            raise ValueError(
                "its input has non-finite logits; the rate of the blocks before it may be too high"
            )
        costs = F.softplus(x[:, 0].double() - x[:, 1].double()).clamp_min(LEAST)
        return shortest_paths(costs.cpu().numpy())[:, None]


def shortest_paths(costs: Array) -> Array:
    """Return 1 on the shortest path of each map, else 0: costs (R, H, W), positive → (R, H, W) float32."""
    _, before = _search(costs, 0)
    on_path = np.zeros(costs.size, np.float32)
    at = np.arange(costs.size).reshape(costs.shape)[:, -1, -1]
    while len(at):
        on_path[at] = 1
        at = before[at]
        at = at[at >= 0]
    return on_path.reshape(costs.shape)


def unique(costs: Array) -> Array:
    """Return whether each map has only one shortest path: costs (R, H, W) → (R,) booleans.

    A cell is on a shortest path if the ways from both ends to it, together, are as short. The cells of two
    such paths are more than those of one: with positive costs their order is that of the distances.
    """
    there, back = _search(costs, 0)[0], _search(costs, -1)[0]  # both with the cell, without their start
    through = there + back - costs + costs[:, -1:, -1:]
    on_some = np.isclose(through, there[:, -1:, -1:], rtol=1e-9, atol=1e-9).sum((1, 2))
    found: Array = on_some == shortest_paths(costs).sum((1, 2))
    return found


def _search(costs: Array, end: int) -> tuple[Array, Array]:
    """Return the distance of every cell from the first or the last one, (R, H, W), and the cells before."""
    cells = np.arange(costs.size).reshape(costs.shape)
    steps = [(cells[:, :, :-1], cells[:, :, 1:]), (cells[:, :-1], cells[:, 1:])]
    tail = np.concatenate([a.ravel() for pair in steps for a in pair])
    head = np.concatenate([a.ravel() for pair in steps for a in pair[::-1]])
    graph = csr_matrix((costs.ravel()[head], (tail, head)), shape=(costs.size, costs.size))
    # one search from all sources: the maps are not connected
    far, before, _ = dijkstra(graph, indices=cells[:, end, end], min_only=True, return_predecessors=True)
    return far.reshape(costs.shape), before


class DigitMaps(Dataset):
    """Maps of handwritten digits, and the cheapest path through each.

    A map has ``side`` by ``side`` cells, each a digit of the data set `digits`, whose 64 pixels are the
    channels of the cell: samples are uint8 (64, side, side). The cost of a cell depends on its digit, which
    the data do not tell: a target is 1 for the cells of the cheapest path from the first cell to the
    last one, else 0. Test maps have digits of the test split only. Maps with several cheapest paths are
    left out.

    Args:
        side: cells of a side.
        train: number of training maps.
        test: number of test maps.
        seed: of the digits that a map gets.
    """

    def __init__(self, side: Size = 6, train: Size = 2000, test: Size = 500, seed: Natural = 0) -> None:
        self.side, self.train, self.test, self.seed = side, train, test, seed

    def load(self) -> ImageSet:
        """Make the maps."""
        digits: ImageSet = part("dataset", "digits").load()
        rng = np.random.default_rng(self.seed)
        return ImageSet(
            name="digit-maps",
            train=self._made(digits.train, self.train, rng),
            test=self._made(digits.test, self.test, rng),
            classes=("other", "path"),
            scale=digits.scale,
            provenance=digits.provenance,
            task=PixelClassification(2, headline="exact_match"),
        )

    def _made(self, digits: Split, maps: int, rng: np.random.Generator) -> Split:
        chosen = np.zeros((0, self.side, self.side), int)
        while len(chosen) < maps:
            more = rng.integers(len(digits), size=(maps, self.side, self.side))
            chosen = np.concatenate([chosen, more[unique(COSTS[digits.y[more]])]])[:maps]
        cells = digits.x[chosen].reshape(maps, self.side, self.side, 64).transpose(0, 3, 1, 2)
        return Split(np.ascontiguousarray(cells), shortest_paths(COSTS[digits.y[chosen]]).astype(np.int64))


COSTS: Array = 1 + 9 * np.mod(np.sqrt([2, 3, 5, 7, 11, 13, 17, 19, 23, 29]), 1)
"""The cost of each digit, between 1 and 10."""
