"""The algorithm of local error signals: one view, and an output layer after the last block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ffcore.interfaces import Algorithm, Batch, Network, Views


class LocalErrors(Algorithm):
    """Every block learns the classes through a head of its own; predicts in one pass.

    The only view is the samples. The goodness of a block, of form "class", contains the head: `linear-head`,
    `items-head`, `prototypes` (Nøkland and Eidnes 2019, arXiv:1901.06656).

    Args:
        output: whether a linear output layer, which learns by cross-entropy, follows the last block, as in
            the paper. Without it the heads alone predict.
    """

    def __init__(self, output: bool = True) -> None:
        super().__init__()
        # The builder replaces "classes" by K. The recipe's penalties and rule are for hidden blocks.
        layer: Mapping[str, Any] = {
            "kind": "dense",
            "name": "output",
            "units": "classes",
            "activation": "identity",
            "init": "uniform",
            "block": {
                "goodness": "logits",
                "objective": "cross-entropy",
                "penalties": {},
                "handoff": None,
                "rule": None,
            },
        }
        self.head = layer if output else None

    def views(self, batch: Batch, net: Network) -> Views:
        """Return the samples as one view."""
        return self.neutral(batch.x, batch.y)
