"""One batch, as the loader returns it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ffcore.interfaces.batch_rng import BatchRNG
from ffcore.interfaces.ranks import ranks
from ffcore.interfaces.structure import mapped


@dataclass(slots=True)
class Batch:
    """This rank's share of a global batch.

    Attributes:
        x: (N, *shape) samples on the training device; for models with several inputs a tuple or mapping of
            tensors, all with N rows.
        y: targets of the samples, such as int64 classes (N,); see `Task`.
        index: (N,) indices of the samples in their split.
        first: index of row 0 in the global batch.
        total: rows of the global batch over all ranks.
        counts: False for the placeholder batch of a rank without a share; see `Ranks.idle`.
        rng: the batch RNG; the engine sets it before the algorithm gets the batch.
    """

    x: Any
    y: Tensor
    index: Tensor
    first: int
    total: int
    rng: BatchRNG | None = None
    counts: bool = True

    def seed(self, seed: int, step: int) -> None:
        """Set the batch RNG to the random numbers of one step under one seed."""
        self.rng = BatchRNG(seed, step, self.first, len(self.index), self.total, self.index.device)

    def to(self, device: torch.device, **how: Any) -> Batch:
        """Return the batch on a device. ffcore's loaders create it there already."""
        # No copy of the dataclass in the usual case.
        if self.index.device == device:
            return self
        moved = mapped(self.x, lambda each: each.to(device))
        return replace(self, x=moved, y=self.y.to(device), index=self.index.to(device))

    def whole(self) -> Batch:
        """Return the global batch, gathered from all ranks that share it; see `ranks`."""
        group = ranks()
        x, y, index = group.rows(self.x), group.rows(self.y), group.rows(self.index)
        whole = Batch(x, y, index, 0, self.total)
        if self.rng is not None:
            whole.seed(self.rng.seed, self.rng.step)
        return whole

    def random(self) -> BatchRNG:
        """Return the batch RNG; asserts that the engine has set it."""
        assert self.rng is not None, "a batch reaches an algorithm only with its random numbers set"
        return self.rng
