"""Backpropagation as an algorithm: one window over all blocks, and a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ffcore.interfaces import Algorithm, Batch, Network, Views
from ffcore.options import BelowOne


class Backprop(Algorithm):
    """Cross-entropy of a linear head, its gradient going through all blocks.

    The blocks of the recipe lose their goodness, objective and penalties and keep body, handoff and
    optimiser, so that any recipe has a twin: ``algorithm.kind=backprop``.

    Args:
        pool: let the head read the mean of every channel in place of all places of the last block's images.
        label_smoothing: share of the target that is spread over all classes.
    """

    schedule: ClassVar[str] = "one-window"
    block: ClassVar[Mapping[str, Any]] = {"goodness": None, "objective": None, "penalties": {}}

    def __init__(self, pool: bool = False, label_smoothing: BelowOne = 0.0) -> None:
        super().__init__()
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
        """The samples themselves."""
        return self.neutral(batch.x, batch.y)
