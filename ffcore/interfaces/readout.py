"""The contract of readouts: classifiers on the handoffs of blocks.

N samples; R rows; K classes.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context
from ffcore.interfaces.rule import LearningRule
from ffcore.interfaces.task import Task
from ffcore.interfaces.views import Views


class Readout(Component):
    """A classifier on the handoffs of some blocks. It learns from its own loss.

    The network wraps it in a local block, so its gradient does not reach the blocks that it reads. In a task
    by position it reads and classifies every position as a row of its own.

    Attributes:
        task: what the targets are; the network sets it before it calls `setup`. None: classes.
    """

    task: Task | None = None

    @abstractmethod
    def setup(self, context: Context) -> tuple[str, ...]:
        """Choose the blocks to read and make the parameters.

        Args:
            context: ``features`` are the contexts of all blocks, in order, each with the shape of one sample
                of its handoff, ``handoff_shape``.

        Returns:
            Names of the blocks whose handoffs are the arguments of `forward`.

        Raises:
            ValueError: when a chosen block does not exist.
        """

    @abstractmethod
    def forward(self, *activities: Tensor) -> Tensor:
        """Return class logits (R, K) from the handoffs of the chosen blocks, (R, *shape) each."""

    def rule(self) -> LearningRule | None:
        """Return a rule of its own, by which it learns in place of the gradient of its loss."""
        return None

    def loss(self, logits: Tensor, views: Views) -> Tensor:
        """Return the readout's loss, that of the task: cross-entropy of logits (N, K) with true classes."""
        assert views.y is not None, "a readout learns from targets"
        return F.cross_entropy(logits, views.y) if self.task is None else self.task.loss(logits, views.y)
