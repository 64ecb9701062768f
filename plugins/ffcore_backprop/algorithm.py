"""Backpropagation as an algorithm: one window over all blocks, and a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ffcore.interfaces import Algorithm, Batch, Network, Views


class Backprop(Algorithm):
    """Cross-entropy of a linear head, its gradient going through all blocks.

    The blocks of the recipe lose their goodness, objective and penalties and keep body, handoff and
    optimiser, so that any recipe of dense blocks has a twin: ``algorithm.kind=backprop``.
    """

    schedule: ClassVar[str] = "one-window"
    block: ClassVar[Mapping[str, Any]] = {"goodness": None, "objective": None, "penalties": {}}
    head: ClassVar[Mapping[str, Any] | None] = {
        "kind": "dense",
        "name": "head",
        "units": "classes",
        "activation": "identity",
        "block": {
            "goodness": {"kind": "logits"},
            "objective": {"kind": "cross-entropy"},
            "handoff": {"kind": "identity"},
        },
    }

    def views(self, batch: Batch, net: Network) -> Views:
        """The samples themselves."""
        return Views(x=batch.x, roles=("all",), sizes=(len(batch.x),), y=batch.y)
