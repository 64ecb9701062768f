"""Backpropagation as an algorithm: one window over all blocks, and a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ffcore.interfaces import Algorithm, Batch, Network, Task, Views
from ffcore.interfaces.task import Target
from ffcore.options import BelowOne
from ffcore_std.pointwise import output_layer


class Backprop(Algorithm):
    """Backpropagation through all blocks, from the cross-entropy of a linear head.

    The blocks of the recipe keep body, handoff and optimiser, without goodness, objective, penalties, loss
    and learning rule. So ``algorithm.kind=backprop`` gives the twin of a recipe.

    Args:
        pool: whether the head reads the mean of every channel instead of all pixels of the last block.
        label_smoothing: share of the target that is distributed over all classes.
    """

    reads: ClassVar[frozenset[Target]] = frozenset({"class", "labels", "values"})
    positions: ClassVar[bool] = True
    schedule: ClassVar[str] = "one-window"
    block: ClassVar[Mapping[str, Any]] = {
        "goodness": None,
        "objective": None,
        "penalties": {},
        "loss": None,
        "rule": None,
    }

    def __init__(self, pool: bool = False, label_smoothing: BelowOne = 0.0) -> None:
        super().__init__()
        self.pool = pool
        self.label_smoothing = label_smoothing

    def head_for(self, task: Task | None) -> Mapping[str, Any] | None:
        """Return the linear head.

        Raises:
            ValueError: when an option does not fit the task.
        """
        smoothing = {"label_smoothing": self.label_smoothing}
        if task is not None and task.target != "class":
            if self.label_smoothing:
                raise ValueError("label_smoothing: is for classes; leave it out")
            smoothing = {}
        if self.pool and task is not None and task.features is not None:
            raise ValueError("pool: every position has a target; set it to false")
        layer = output_layer(task, {"handoff": {"kind": "identity"}}, **smoothing)
        pooled = {"kind": "pooled-dense", "units": "classes", "block": layer["block"]}
        return {**(pooled if self.pool else layer), "name": "head"}

    def views(self, batch: Batch, net: Network) -> Views:
        """Return the samples as one view."""
        return self.neutral(batch.x, batch.y)
