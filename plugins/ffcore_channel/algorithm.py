"""Channel-class learning as an algorithm: the samples with their classes, and nothing else."""

from __future__ import annotations

from ffcore.interfaces import Algorithm, Batch, Network, Views


class ChannelClass(Algorithm):
    """Every layer learns by itself to tell the classes apart; predicts from one neutral pass.

    One view, the samples: no negative data, and no label in any input. What a layer says of the classes is
    its goodness of form "class" (`channel-partition`, `channel-assignment`); the layer contribution combines
    them (Papachristodoulou et al. 2024, arXiv:2312.12668; Sun et al., DeeperForward, ICLR 2025).
    """

    def views(self, batch: Batch, net: Network) -> Views:
        """The samples themselves."""
        return self.neutral(batch.x, batch.y)
