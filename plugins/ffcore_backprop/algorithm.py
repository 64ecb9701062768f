"""Backpropagation as an algorithm: one window over all blocks, and a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ffcore.interfaces import Algorithm, Batch, Network, Views
from ffcore.options import BelowOne


class Backprop(Algorithm):
    """Backpropagation through all blocks, from the cross-entropy of a linear head.

    The blocks of the recipe keep body, handoff and optimiser, without goodness, objective and penalties. So
    ``algorithm.kind=backprop`` gives the twin of a recipe.

    Args:
        pool: whether the head reads the mean of every channel instead of all pixels of the last block.
        label_smoothing: share of the target that is distributed over all classes.
    """

    schedule: ClassVar[str] = "one-window"
    block: ClassVar[Mapping[str, Any]] = {"goodness": None, "objective": None, "penalties": {}}

    def __init__(self, pool: bool = False, label_smoothing: BelowOne = 0.0) -> None:
        super().__init__()
        # The builder replaces "classes" below by K.
        body = {"kind": "pooled-dense"} if pool else {"kind": "dense", "activation": "identity"}
        self.head: Mapping[str, Any] | None = {
            **body,
            "name": "head",
            "units": "classes",
            "block": {
                "goodness": {"kind": "logits"},
                "objective": {"kind": "cross-entropy", "label_smoothing": label_smoothing},
                "handoff": {"kind": "identity"},
            },
        }

    def views(self, batch: Batch, net: Network) -> Views:
        """Return the samples as one view."""
        return self.neutral(batch.x, batch.y)
