"""Affine layers for learning rules: bodies h = f(W x + b) whose weights a rule reads or sets.

    a = X Wᵀ + b        X the rows that the weight multiplies: samples, or patches of a convolution

R rows of a pass; n = R · positions rows of X; D values of one; U units; X (n, D); W (U, D); b (U,); a (n, U).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layer = nn.Linear | nn.Conv2d
"""A layer of torch with the weight W and perhaps the bias b."""


def layer_of(part: nn.Module) -> Layer:
    """Return the only affine layer of a body, a goodness or a readout.

    >>> layer_of(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU()))
    Linear(in_features=4, out_features=3, bias=True)

    Raises:
        ValueError: when it has none or several, a convolution that is grouped or not padded by numbers of
            zeros, or one whose weight is computed, as by pruning and weight norm.
    """
    layers = [module for module in part.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    if len(layers) != 1:
        raise ValueError(
            f"{type(part).__name__} has {len(layers)} linear layers and convolutions; the rule needs one, "
            "torch's Linear or Conv2d"
        )
    (layer,) = layers
    plain = isinstance(layer, nn.Linear) or (layer.groups, layer.padding_mode) == (1, "zeros")
    if not plain or (isinstance(layer, nn.Conv2d) and isinstance(layer.padding, str)):
        raise ValueError(f"{type(part).__name__}: {layer} is not a plain convolution; the rule needs one")
    if "weight" not in dict(layer.named_parameters(recurse=False)):
        raise ValueError(f"{type(part).__name__}: the weight of {layer} is computed, so it cannot be set")
    return layer


def columns(layer: Layer, x: Tensor) -> Tensor:
    """Return X (n, D), the rows that the weight multiplies in ``layer(x)``; of a convolution its patches.

    >>> columns(nn.Conv2d(2, 5, 3, padding=1), torch.zeros(4, 2, 6, 6)).shape
    torch.Size([144, 18])
    """
    if isinstance(layer, nn.Linear):
        return x.flatten(0, -2)
    size, padding = layer.kernel_size, layer.padding
    assert not isinstance(padding, str), "refused by layer_of"
    patches = F.unfold(x, size, layer.dilation, padding, layer.stride)
    return patches.transpose(1, 2).flatten(0, 1)


@torch.no_grad()
def set_weight(layer: Layer, weight: Tensor, bias: Tensor | None) -> None:
    """Set W (U, D), and b (U,) of a layer that has one."""
    layer.weight.copy_(weight.view_as(layer.weight))
    if layer.bias is not None and bias is not None:
        layer.bias.copy_(bias)


@contextmanager
def inputs_of(layer: Layer) -> Iterator[list[Tensor]]:
    """Within the context, note the input of every call of a layer, detached."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    try:
        yield seen
    finally:
        hook.remove()
