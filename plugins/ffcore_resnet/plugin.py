"""What this plugin registers: names, configs and dotted targets; nothing heavy."""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.options import Options
from ffcore.plugin.register import Register
from ffcore_resnet import configs


@hookimpl
def ffcore_register_bodies(register: Register) -> None:
    """Convolutions, and what lies between them."""
    register("conv", "ffcore_resnet.convolution:Conv", configs.Conv, "convolution")
    register(
        "conv-norm",
        "ffcore_resnet.convolution:ConvNorm",
        configs.ConvNorm,
        "convolution, max-pooling and batch norm; goodness comes after",
    )
    register("average-pool", "ffcore_resnet.shapes:AveragePool", configs.Pool, "means of squares")
    register("max-pool", "ffcore_resnet.shapes:MaxPool", configs.Pool, "the largest of squares")
    register("layer-norm", "ffcore_resnet.shapes:LayerNorm", Options, "each sample normalised")


@hookimpl
def ffcore_register_handoffs(register: Register) -> None:
    """Norms of images."""
    register(
        "group-norm", "ffcore_resnet.norms:GroupNorm", configs.GroupNorm, "groups of channels normalised"
    )
    register("instance-norm", "ffcore_resnet.norms:InstanceNorm", configs.InstanceNorm, "channels normalised")
    register("batch-norm", "ffcore_resnet.norms:BatchNorm", Options, "channels normalised over the batch")


@hookimpl
def ffcore_register_networks(register: Register) -> None:
    """Networks of convolutions."""
    register("resnet17", "ffcore_resnet.networks:ResNet17", configs.ResNet17, "residual, 17 convolutions")
    register("tinycnn4", "ffcore_resnet.networks:TinyCNN", configs.TinyCNN, "four convolutions")
    register("vgg13", "ffcore_resnet.networks:VGG13", configs.VGG13, "thirteen convolutions")
