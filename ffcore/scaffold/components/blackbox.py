"""A part between blocks that needs no gradient.

    z_j = 1 if x_j is above the median of unit j, else 0

R rows; x (R, *shape).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor

from ffcore.interfaces import BlackBox, Context


class Mine(BlackBox):
    """1 for each unit above its median, else 0. It is fitted when the run begins."""

    median: Tensor

    def setup(self, context: Context) -> None:
        """Make what `fit` fills. Buffers are part of checkpoints."""
        self.register_buffer("median", torch.zeros(context.shape))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Find the medians of what the blocks before the box hand on, of the first 20 batches."""
        self.median.copy_(torch.cat(list(islice(batches, 20))).median(0).values)

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape). The result may also be an array, and needs no graph."""
        return x > self.median
