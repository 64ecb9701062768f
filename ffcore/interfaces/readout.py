"""The contract of readouts: classifiers on what blocks hand on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces.component import BlockInfo, Component
from ffcore.interfaces.views import Views


class Readout(Component):
    """A classifier on the handed-on activities of some blocks. It learns by a rule of its own.

    No gradient leaves it: the network wraps it in a local block.
    """

    @abstractmethod
    def connect(self, blocks: Sequence[BlockInfo], shapes: Sequence[tuple[int, ...]]) -> tuple[str, ...]:
        """Choose the blocks to read and make the parameters.

        Args:
            blocks: all blocks, in order.
            shapes: shape of one sample of each block's handoff.

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
