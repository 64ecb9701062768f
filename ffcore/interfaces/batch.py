"""One batch as the loader hands it out."""

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
        x: (N, *shape) samples on the training device; for models of several inputs a tuple or mapping of
            tensors, all of N rows.
        y: (N,) int64 classes.
        index: (N,) places of the samples in their split.
        first: place of row 0 in the global batch.
        total: rows of the global batch over all ranks.
        counts: False for the stand-in of a rank that has no share; see `Ranks.idle`.
        rng: the batch's random numbers; the engine sets it before an algorithm sees the batch.
    """

    x: Any
    y: Tensor
    index: Tensor
    first: int
    total: int
    rng: BatchRNG | None = None
    counts: bool = True

    def seed(self, seed: int, step: int) -> None:
        """Set its random numbers, those of one step under one seed."""
        self.rng = BatchRNG(seed, step, self.first, len(self.y), self.total, self.y.device)

    def to(self, device: torch.device, **how: Any) -> Batch:
        """The batch on a device; ffcore's loaders make it there."""
        if self.y.device == device:
            return self
        moved = mapped(self.x, lambda each: each.to(device))
        return replace(self, x=moved, y=self.y.to(device), index=self.index.to(device))

    def whole(self) -> Batch:
        """The batch of all ranks that share it, if `ranks` says that several do."""
        group = ranks()
        x, y, index = group.rows(self.x), group.rows(self.y), group.rows(self.index)
        whole = Batch(x, y, index, 0, self.total)
        if self.rng is not None:
            whole.seed(self.rng.seed, self.rng.step)
        return whole

    def random(self) -> BatchRNG:
        """The batch's random numbers; asserts that the engine has set them."""
        assert self.rng is not None, "a batch reaches an algorithm only with its random numbers set"
        return self.rng
