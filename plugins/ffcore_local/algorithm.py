"""The algorithm of local error signals: one view, and an output layer after the last block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ffcore.interfaces import Algorithm, Batch, Network, Task, Views, c99
from ffcore.interfaces.task import Target
from ffcore_std.pointwise import output_layer


class LocalErrors(Algorithm):
    """Every block learns the classes through a head of its own; predicts in one pass.

    The only view is the samples. The goodness of a block, of form "class", contains the head: `linear-head`,
    `items-head`, `prototypes` (Nøkland and Eidnes 2019, arXiv:1901.06656).

    Args:
        output: whether a recipe's network ends with a linear output layer, which learns by cross-entropy, as
            in the paper. Without it the heads alone predict. An `ffcore.Network` has the blocks that it is
            given.
    """

    reads: ClassVar[frozenset[Target]] = frozenset({"class", "labels", "values"})
    positions: ClassVar[bool] = True

    def __init__(self, output: bool = True) -> None:
        super().__init__()
        self.output = output

    def head_for(self, task: Task | None) -> Mapping[str, Any] | None:
        """Return the output layer. The recipe's penalties and rule are for hidden blocks."""
        if not self.output:
            return None
        layer = output_layer(task, {"penalties": {}, "handoff": None, "rule": None})
        init = {"init": "uniform"} if layer["kind"] == "dense" else {}
        return {**layer, **init, "name": "output"}

    def views(self, batch: Batch, net: Network) -> Views:
        """Return the samples as one view."""
        return self.neutral(batch.x, batch.y)

    def c99(self) -> c99.OnePass:
        """Return the C form; see `ffcore.interfaces.c99`."""
        return c99.OnePass()
