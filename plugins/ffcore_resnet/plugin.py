"""Convolutions, norms and residual networks.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.body("conv", "ffcore_resnet.convolution:Conv")
    registry.body("conv-norm", "ffcore_resnet.convolution:ConvNorm")
    registry.body("average-pool", "ffcore_resnet.shapes:AveragePool")
    registry.body("max-pool", "ffcore_resnet.shapes:MaxPool")
    registry.body("layer-norm", "ffcore_resnet.shapes:LayerNorm")

    registry.handoff("group-norm", "ffcore_resnet.norms:GroupNorm")
    registry.handoff("instance-norm", "ffcore_resnet.norms:InstanceNorm")
    registry.handoff("batch-norm", "ffcore_resnet.norms:BatchNorm")

    registry.network("resnet17", "ffcore_resnet.networks:ResNet17")
    registry.network("tinycnn4", "ffcore_resnet.networks:TinyCNN")
    registry.network("vgg13", "ffcore_resnet.networks:VGG13")
