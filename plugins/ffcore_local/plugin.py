"""Local error signals.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.algorithm("local-errors", "ffcore_local.algorithm:LocalErrors")

    registry.body("conv-bn", "ffcore_local.bodies:ConvBatchNorm")
    registry.body("dense-bn", "ffcore_local.bodies:DenseBatchNorm")

    registry.goodness("linear-head", "ffcore_local.heads:LinearHead")

    registry.penalty("similarity", "ffcore_local.similarity:Similarity")

    registry.handoff("channel-dropout", "ffcore_local.handoffs:ChannelDropout")

    registry.network("vgg8b", "ffcore_local.networks:VGG8b")
    registry.network("vgg11b", "ffcore_local.networks:VGG11b")
