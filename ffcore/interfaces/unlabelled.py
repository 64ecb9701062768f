"""Algorithms whose blocks learn without targets: only readouts read them."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ffcore.interfaces.algorithm import Algorithm
from ffcore.interfaces.batch import Batch
from ffcore.interfaces.context import Context
from ffcore.interfaces.goodness import Form
from ffcore.interfaces.network import Network, Source
from ffcore.interfaces.task import Target
from ffcore.interfaces.views import Views


class Unlabelled(Algorithm):
    """Base class: blocks learn from samples alone, and readouts on their handoffs learn the targets.

    No gradient of a readout reaches the blocks. In a task without targets nothing is predicted; the headline
    is the loss. The only view is the samples.
    """

    accepts: ClassVar[frozenset[Form]] = frozenset({"energy", "class"})
    reads: ClassVar[frozenset[Target]] = frozenset({"class", "labels", "values", "none"})

    def setup(self, context: Context) -> tuple[int, ...]:
        """See `Algorithm.setup`.

        Raises:
            ValueError: when there are targets, but no readout that learns them.
        """
        if not context.readouts and (context.task is None or context.task.target != "none"):
            raise ValueError(
                "only a readout learns targets: add one under `readouts`, or set the task to none"
            )
        return context.shape

    def sources(self, net: Network) -> tuple[Source, ...]:
        """Return the readouts."""
        return tuple(source for source in net.sources if source.role == "readout")

    def evidence(self, x: Any, net: Network) -> list[Tensor]:
        """Return an empty list, since blocks give no evidence."""
        return []

    def views(self, batch: Batch, net: Network) -> Views:
        """Return the samples as one view."""
        return self.neutral(batch.x, batch.y)
