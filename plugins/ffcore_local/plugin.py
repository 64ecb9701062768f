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
    registry.algorithm("two-views", "ffcore_local.two_views:TwoViews")

    registry.body("conv-bn", "ffcore_local.bodies:ConvBatchNorm")
    registry.body("dense-bn", "ffcore_local.bodies:DenseBatchNorm")
    registry.body("random-conv", "ffcore_local.fixed:RandomConv")
    registry.body("binary-dense", "ffcore_local.fixed:BinaryDense")

    registry.goodness("linear-head", "ffcore_local.heads:LinearHead")
    registry.goodness("items-head", "ffcore_local.items_head:ItemsHead")
    registry.goodness("prototypes", "ffcore_local.prototypes:Prototypes")
    registry.goodness("target-codes", "ffcore_local.codes:TargetCodes")
    registry.goodness("square-head", "ffcore_local.square_head:SquareHead")

    registry.objective("likelihood", "ffcore_local.codes:Likelihood")

    registry.penalty("similarity", "ffcore_local.similarity:Similarity")
    registry.penalty("nt-xent", "ffcore_local.contrastive:NTXent")
    registry.penalty("margin-contrast", "ffcore_local.contrastive:MarginContrast")

    registry.handoff("channel-dropout", "ffcore_local.handoffs:ChannelDropout")

    registry.contribution("sum-of-softmax", "ffcore_local.contributions:SumOfSoftmax")

    registry.network("vgg8b", "ffcore_local.networks:VGG8b")
    registry.network("vgg11b", "ffcore_local.networks:VGG11b")
