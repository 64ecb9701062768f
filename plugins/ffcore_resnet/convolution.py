"""Convolutions as bodies of local blocks.

    a = W ∗ x + b;  h = dropout(f(a))
    ∂L/∂W = Σ_{r, positions} ∂L/∂a · patchᵀ;  ∂L/∂b = Σ_{r, positions} ∂L/∂a

R rows; C channels of H by W pixels; U output channels; x (R, C, H, W); h (R, U, H', W'); W (U, C, k, k).
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import dense
from ffcore.options import BelowOne, Positive, Size
from ffcore_resnet.weight_gradient import of_weight
from ffcore_std.activations import ACTIVATIONS, ActivationName
from ffcore_std.bodies import add_gradient

Init = Literal["uniform", "kaiming"]


class Conv(nn.Module):
    """Convolution, h = dropout(f(W ∗ x + b)), padded by kernel // 2.

    Weights and activities are in channels-last memory format, which is faster on CPUs and GPUs. A block that
    is alone in its window needs no gradient with respect to x: it computes a forward pass and the gradient of
    the weights, 2/3 of the operations of backpropagation.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        channels: number of output channels U.
        kernel: side of the filters, odd.
        stride: distance between two positions of a filter.
        groups: number of groups of channels (grouped convolution).
        activation: f: relu, relu-pass-through, tanh or identity.
        bias: whether to add b.
        dropout: probability p that a unit is set to 0 during learning; the others are scaled by 1/(1 − p).
        init: "uniform" in ±1/√(C·kernel²), PyTorch's default; "kaiming": normal, variance 2/(U·kernel²).

    Raises:
        ValueError: when samples are not images, the groups do not divide the channels, an image is smaller
            than the stride, or dropout is combined with relu-pass-through.
    """

    examples = (
        {"channels": 6},
        {"channels": 4, "stride": 2, "bias": True, "activation": "tanh", "dropout": 0.5},
        {"channels": 4, "groups": 2, "kernel": 5, "init": "kaiming"},
    )

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: Size,
        kernel: Size = 3,
        stride: Size = 1,
        groups: Size = 1,
        activation: ActivationName = "relu",
        bias: bool = False,
        dropout: BelowOne = 0.0,
        init: Init = "uniform",
    ) -> None:
        super().__init__()
        _check(in_shape, channels, kernel, stride, groups)
        if dropout and activation == "relu-pass-through":
            # the closed form recognises dropped units by h = 0, but here silent units have a gradient too
            raise ValueError("dropout: does not work with activation relu-pass-through; set it to 0")
        conv = nn.Conv2d(in_shape[0], channels, kernel, stride, kernel // 2, groups=groups, bias=bias)
        if init == "kaiming":
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        self.conv: nn.Conv2d = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.activation = ACTIVATIONS[activation]
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, U, H / stride, W / stride)."""
        made = self.activation.function(self.conv(x.contiguous(memory_format=torch.channels_last)))
        return F.dropout(made, self.dropout, self.training) if self.dropout else made

    def add_gradients(self, x: Tensor, activity: Tensor, up: Tensor) -> None:
        """Gradients of W and b in closed form; see `ffcore.interfaces.ClosedForm`."""
        keeps = 1 - self.dropout if self.training else 1.0
        # With a relu, units at 0 have no gradient, dropped or not. With others, dropped units are masked
        # here, and the activity before dropout is restored for f'.
        if self.dropout and self.training and self.activation is not ACTIVATIONS["relu"]:
            up = up * (activity != 0)
            activity = activity * keeps
        up = self.activation.back(activity, up)
        if keeps != 1:
            up = up.div_(keeps)
        weight, bias = self.conv.weight, self.conv.bias
        if bias is not None and bias.requires_grad:
            add_gradient(bias, up.sum((0, 2, 3)))
        if weight.requires_grad:
            inputs = dense(x).contiguous(memory_format=torch.channels_last)
            add_gradient(weight, of_weight(self.conv, inputs, up))


class ConvNorm(nn.Module):
    """Convolution, pooling and norm, h = batch-norm(max-pool(f(W ∗ x + b))) (CwC).

    Papachristodoulou et al. 2024, arXiv:2312.12668. The goodness is computed after the norm. In a pass in
    which the block does not learn, batch norm uses its running statistics.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        channels: number of output channels U.
        kernel: side of the filters, odd.
        stride: distance between two positions of a filter.
        groups: number of groups of channels (grouped convolution).
        activation: f: relu, relu-pass-through, tanh or identity.
        bias: whether to add b.
        pool: side of the pooling; 1 for none.
        eps: added to variances.
        init: as for `Conv`.

    Raises:
        ValueError: as for `Conv`, or when the image is smaller than the pooling.
    """

    examples = ({"channels": 6, "pool": 2},)

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: Size,
        kernel: Size = 3,
        stride: Size = 1,
        groups: Size = 1,
        activation: ActivationName = "relu",
        bias: bool = True,
        pool: Size = 1,
        eps: Positive = 1e-4,
        init: Init = "uniform",
    ) -> None:
        super().__init__()
        self.conv = Conv(in_shape, channels, kernel, stride, groups, activation, bias, init=init)
        # Rounded up, as padding by kernel // 2 gives.
        left = tuple(-(-side // stride) for side in in_shape[1:])
        if min(left) < pool:
            raise ValueError(f"pool: {pool} is larger than the image of {left[0]}×{left[1]} pixels")
        self.pool = pool
        self.norm = nn.BatchNorm2d(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, U, H / (stride · pool), W / (stride · pool))."""
        made = self.conv(x)
        return cast(Tensor, self.norm(F.max_pool2d(made, self.pool) if self.pool > 1 else made))


def refuse_other_than_images(shape: tuple[int, ...], kernel: int) -> None:
    """Raise if samples are not images, or the side of the filters is even.

    Raises:
        ValueError: with the shape or the side.
    """
    if len(shape) != 3:
        raise ValueError(f"a convolution needs images of C×H×W, samples have shape {shape}")
    if kernel % 2 == 0:
        raise ValueError(f"kernel: {kernel} is even; it should be odd")


def _check(shape: tuple[int, ...], channels: int, kernel: int, stride: int, groups: int) -> None:
    refuse_other_than_images(shape, kernel)
    if min(shape[1:]) < stride:
        raise ValueError(
            f"stride: {stride} is larger than the image of {shape[1]}×{shape[2]} pixels; use fewer blocks "
            "with a stride, or larger images"
        )
    for what, count in (("channels", channels), ("the input's channels", shape[0])):
        if count % groups:
            raise ValueError(f"groups: {groups} groups do not divide {what}, {count}")
