"""The contract of readouts: classifiers on what blocks hand on."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context
from ffcore.interfaces.views import Views


class Readout(Component):
    """A classifier on the handed-on activities of some blocks. It learns by a rule of its own.

    No gradient leaves it: the network wraps it in a local block.
    """

    @abstractmethod
    def setup(self, context: Context) -> tuple[str, ...]:
        """Choose the blocks to read and make the parameters.

        Args:
            context: ``features`` are the contexts of all blocks, in order, each with the shape of one sample
                of its handoff, ``handoff_shape``.

        Returns:
            Names of the blocks that `forward` wants to see.

        Raises:
            ValueError: when a block that it should read does not exist.
        """

    @abstractmethod
    def forward(self, *activities: Tensor) -> Tensor:
        """Class logits (R, K) from the handoffs of the chosen blocks, (R, *shape) each."""

    def loss(self, logits: Tensor, views: Views) -> Tensor:
        """What the readout learns on: cross-entropy of its logits (N, K) with the true classes."""
        assert views.y is not None, "a readout learns from labelled samples"
        return F.cross_entropy(logits, views.y)
