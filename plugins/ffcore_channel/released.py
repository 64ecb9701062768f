"""Weights that the authors' code has trained, as the state of a network of ffcore.

    theirs                                ours, of the i-th block with a convolution
    layers.i.conv.weight                  body.conv.weight
    layers.i.class_channel_weights        goodness.logits                     CAW-Conv only
    layers.i.log_temperature              goodness.log_temperature            CAW-Conv only
    start_layer, end_layer                contribution.range                  DeeperForward only

In networks with pooling before a convolution, its layer is a sequence: layers.i.1.conv.weight. The names were
read in CAW-Conv's scripts for ResNet-17, TinyCNN and VGG; those of DeeperForward in the copy of its layer in
that repository (ResNet_CIFAR100.py), not in its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore_channel.assignment import ChannelAssignment
from ffcore_channel.contributions import BestRange
from ffcore_resnet.convolution import Conv

_LAYER = re.compile(r"layers\.(\d+)(?:\.\d+)?\.(conv\.weight|class_channel_weights|log_temperature)")
_RANGE = ("start_layer", "end_layer")


def released_state(
    released: Mapping[str, Tensor], network: nn.Module, epoch: int | None = None
) -> dict[str, Any]:
    """Return the state dict of ``network`` with weights trained by the authors' code.

    CAW-Conv (Ghader et al. 2026, arXiv:2606.09928) and DeeperForward (Sun et al., ICLR 2025).

    Two things are not in CAW-Conv's state: the epoch, on which the temperature depends, and the weights of
    the layers, which are equal until the network has been trained or validated.

    >>> import ffcore
    >>> recipe = "cifar10/channel-resnet17-released"
    >>> net = ffcore.from_recipe(recipe, (3, 32, 32), 10, **{"network.0.widths": [10, 20, 40, 80]})
    >>> shapes = [(10, 3)] + [(10, 10)] * 4 + [(20, 20)] * 4 + [(40, 40)] * 4 + [(80, 80)] * 4
    >>> theirs = {}
    >>> for i, (out, into) in enumerate(shapes):
    ...     theirs[f"layers.{i}.conv.weight"] = torch.zeros(out, into, 3, 3)
    ...     theirs[f"layers.{i}.class_channel_weights"] = torch.zeros(out, 10)
    ...     theirs[f"layers.{i}.log_temperature"] = torch.tensor(2.0)
    >>> net.load_state_dict(released_state(theirs, net, epoch=149))
    <All keys matched successfully>

    Args:
        released: their state dict, such as ``torch.load("model.pth")``; that of a checkpoint is its entry
            "model_state_dict".
        network: an `ffcore.Network` of the same shape, with `shortcut: last` in a ResNet-17.
        epoch: number of the epoch, from 0, that has made the weights: 149 at the end of their script; needed
            for weights with an assignment.

    Raises:
        UserError: when names or shapes do not fit the network, or the epoch is missing.
    """
    state = dict(network.state_dict())
    names = {id(tensor): name for name, tensor in network.state_dict(keep_vars=True).items()}
    layers = _layers(released)
    blocks = list(_convolutions(network))
    if len(layers) != len(blocks):
        raise UserError(
            f"released weights: {len(layers)} convolutions, but the network has {len(blocks)} blocks with one"
        )
    for (number, layer), block in zip(sorted(layers.items()), blocks, strict=True):
        targets = {"conv.weight": block.body.conv.weight}
        if isinstance(block.goodness, ChannelAssignment):
            targets["class_channel_weights"] = block.goodness.logits
            targets["log_temperature"] = block.goodness.log_temperature
            if epoch is None:
                raise UserError("released weights: epoch: the temperature depends on it; their last is 149")
            cooled = block.goodness.cooled
            state[names[id(cooled)]] = torch.full_like(cooled, block.goodness.decay**epoch)
        if layer.keys() != targets.keys():
            raise UserError(
                f"released weights: layers.{number} has {_listed(layer)}; block {block.name} needs "
                f"{_listed(targets)}"
            )
        for key, tensor in targets.items():
            if layer[key].shape != tensor.shape:
                raise UserError(
                    f"released weights: layers.{number}: {key} is {tuple(layer[key].shape)}, that of block "
                    f"{block.name} is {tuple(tensor.shape)}"
                )
            state[names[id(tensor)]] = layer[key].to(tensor)
    _set_range(state, names, released, network)
    return state


def _layers(released: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return the tensors of each layer by their names within it."""
    layers: dict[int, dict[str, Tensor]] = {}
    for name, tensor in released.items():
        if name in _RANGE:
            continue
        if (found := _LAYER.fullmatch(name)) is None:
            raise UserError(
                f"released weights: unknown name {name!r}; known are layers.NUMBER.conv.weight, "
                "class_channel_weights and log_temperature of a layer, start_layer and end_layer"
            )
        layers.setdefault(int(found[1]), {})[found[2]] = tensor
    return layers


def _convolutions(network: nn.Module) -> Iterator[Any]:
    """Yield the blocks whose body is a convolution without a bias, in their order."""
    for stage in network.modules():
        if getattr(stage, "merge", None) == "concat":
            raise UserError(
                "released weights: their shortcuts are the last channels; use shortcut: last in the network"
            )
    for block in cast(Any, network).blocks:
        if isinstance(block.body, Conv):
            if block.body.conv.bias is not None:
                raise UserError(f"released weights: block {block.name} has a bias, theirs has none")
            yield block


def _set_range(
    state: dict[str, Any], names: Mapping[int, str], released: Mapping[str, Tensor], network: nn.Module
) -> None:
    """Set the range of layers that predicts, if the network chooses one."""
    chosen = getattr(network, "contribution", None)
    if not isinstance(chosen, BestRange) or not set(_RANGE) <= released.keys():
        return
    start, end = (int(released[name]) for name in _RANGE)
    if not 0 <= start <= end < len(chosen.blocks):
        raise UserError(f"released weights: layers {start} to {end} of {len(chosen.blocks)}")
    weights = torch.zeros_like(chosen.weights)
    weights[chosen.blocks[start : end + 1]] = 1
    state[names[id(chosen.weights)]] = weights
    state[names[id(chosen.range)]] = torch.tensor([start, end]).to(chosen.range)


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names))
