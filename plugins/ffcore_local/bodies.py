"""Layers with batch normalisation.

    a = W ∗ x + b;   z = γ (a − mean)/√(var + ε) + β;   h = f(z)

R rows; C channels of H by W pixels; U output channels; x (R, C, H, W); h (R, U, H', W').
The mean and the variance are those of a channel over the batch and all positions.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.errors import UserError
from ffcore.interfaces import ranks
from ffcore.options import Fraction, Positive, Size
from ffcore_resnet.convolution import refuse_other_than_images
from ffcore_resnet.weight_gradient import convolve
from ffcore_std.activations import ACTIVATIONS, ActivationName


class DenseBatchNorm(nn.Module):
    """Dense layer, batch norm and activation, h = f(batch-norm(W x + b)).

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: number of units U.
        activation: f: leaky-relu, relu, relu-pass-through, tanh or identity.
        bias: whether to add b.
        momentum: weight of a batch in the running statistics.
        eps: added to variances.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Size,
        activation: ActivationName = "leaky-relu",
        bias: bool = True,
        momentum: Fraction = 0.1,
        eps: Positive = 1e-5,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(in_shape), units, bias=bias)
        self.norm = nn.BatchNorm1d(units, eps=eps, momentum=momentum)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(R, *in_shape) → (R, U)."""
        return self.activation.function(normed(self.norm, self.linear(x.flatten(1))))


class ConvBatchNorm(nn.Module):
    """Convolution, max pooling, batch norm and activation, h = f(batch-norm(max-pool(W ∗ x + b))).

    Padded by kernel // 2. Weights and activities are in channels-last memory format. A block that is alone in
    its window needs no gradient with respect to x.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        channels: number of output channels U.
        kernel: side of the filters, odd.
        stride: distance between two positions of a filter.
        pool: side of the pooling before the norm; 1 for none.
        activation: f: leaky-relu, relu, relu-pass-through, tanh or identity.
        bias: whether to add b.
        momentum: weight of a batch in the running statistics.
        eps: added to variances.

    Raises:
        ValueError: when samples are not images, the kernel is even, or an image is smaller than the stride
            times the pooling.
    """

    examples = ({"channels": 6}, {"channels": 4, "pool": 2, "activation": "relu", "bias": False})

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: Size,
        kernel: Size = 3,
        stride: Size = 1,
        pool: Size = 1,
        activation: ActivationName = "leaky-relu",
        bias: bool = True,
        momentum: Fraction = 0.1,
        eps: Positive = 1e-5,
    ) -> None:
        super().__init__()
        refuse_other_than_images(in_shape, kernel)
        if min(in_shape[1:]) < stride * pool:
            raise ValueError(
                f"pool: an image of {in_shape[1]}×{in_shape[2]} pixels is smaller than stride·pool = "
                f"{stride * pool}; use fewer blocks with pooling, or larger images"
            )
        conv = nn.Conv2d(in_shape[0], channels, kernel, stride, kernel // 2, bias=bias)
        self.conv: nn.Conv2d = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.pool = pool
        self.norm = nn.BatchNorm2d(channels, eps=eps, momentum=momentum)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, U, H / (stride · pool), W / (stride · pool))."""
        made = convolve(self.conv, x.contiguous(memory_format=torch.channels_last))
        if self.pool > 1:
            made = F.max_pool2d(made, self.pool)
        return self.activation.function(normed(self.norm, made))


def normed(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Return the batch norm. A single value a channel, in the last batch of an epoch, has no statistics.

    Raises:
        UserError: when the first batch has a single value a channel.
    """
    if norm.training and x[0, 0].numel() == 1 and _rows(x) == 1:
        if not norm.num_batches_tracked:
            raise UserError("batch norm: a batch of one sample has no statistics; use a larger batch_size")
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    return cast(Tensor, norm(x))


def _rows(x: Tensor) -> int:
    """Return the number of rows from which a batch norm has its statistics: those of all ranks."""
    group = ranks()
    if group.world == 1 or not group.batch_norm:
        return x.shape[0]
    return int(group.sum(torch.tensor([x.shape[0]], device=x.device)))
