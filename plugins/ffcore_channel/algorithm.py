"""The algorithm of channel-class learning: samples with their classes, without negatives."""

from __future__ import annotations

from ffcore.interfaces import Algorithm, Batch, Network, Views


class ChannelClass(Algorithm):
    """Every block learns the classes; predicts from one neutral pass.

    The only view is the samples: without negatives, and without labels in the input. The evidence of a block
    is its goodness of form "class" (`channel-partition`, `channel-assignment`); the layer contribution
    combines it (Papachristodoulou et al. 2024, arXiv:2312.12668; Sun et al., DeeperForward, ICLR 2025).
    """

    def views(self, batch: Batch, net: Network) -> Views:
        """Return the samples as one view."""
        return self.neutral(batch.x, batch.y)
