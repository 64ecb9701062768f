"""Convolutions as bodies of local blocks.

R rows; C channels of H by W places; U channels out.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import dense
from ffcore.options import BelowOne, Count, Positive
from ffcore_std.activations import ACTIVATIONS, ActivationName
from ffcore_std.bodies import add_gradient

Init = Literal["uniform", "kaiming"]

_FEW = 16
"""Places of an output image up to which one matrix product beats the library's gradient of weights."""


class Conv(nn.Module):
    """h = dropout(f(W ∗ x + b)), padded by kernel // 2.

    Weights and activities lie channels last, which is faster on CPUs and GPUs. A block that learns by itself
    asks for no gradient with respect to x: a forward and one product for the weights, 2/3 of backprop's.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        channels: U.
        kernel: side of the filters, odd.
        stride: places between two of them.
        groups: groups of channels that see only their like (grouped convolution).
        activation: f.
        bias: whether there is a b.
        dropout: chance of each unit to be silent while it learns; the others grow by 1/(1 − chance).
        init: "uniform" in ±1/√(C·kernel²), PyTorch's own; "kaiming": normal, variance 2/(U·kernel²).

    Raises:
        ValueError: when samples are no images, the groups do not divide the channels, or an image is smaller
            than the stride, or dropout hides what relu-pass-through has to tell apart.
    """

    examples = (
        {"channels": 6},
        {"channels": 4, "stride": 2, "bias": True, "activation": "tanh", "dropout": 0.5},
        {"channels": 4, "groups": 2, "kernel": 5, "init": "kaiming"},
    )

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: Count,
        kernel: Count = 3,
        stride: Count = 1,
        groups: Count = 1,
        activation: ActivationName = "relu",
        bias: bool = False,
        dropout: BelowOne = 0.0,
        init: Init = "uniform",
    ) -> None:
        super().__init__()
        _check(in_shape, channels, kernel, stride, groups)
        if dropout and activation == "relu-pass-through":
            raise ValueError("dropout: with relu-pass-through nobody could tell which units it silenced")
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
        # Silent units, by dropout or by themselves, have no gradient with a relu; with others they would.
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
            add_gradient(weight, self._of_weight(dense(x).contiguous(memory_format=torch.channels_last), up))

    def _of_weight(self, x: Tensor, up: Tensor) -> Tensor:
        conv = self.conv
        if conv.groups == 1 and x.device.type == "cpu" and up.shape[2] * up.shape[3] <= _FEW:
            return self._by_product(x, up)
        _, gradient, _ = torch.ops.aten.convolution_backward(
            *(up, x, conv.weight, None, conv.stride, conv.padding, conv.dilation),
            *(False, [0, 0], conv.groups, [False, True, False]),
        )
        return cast(Tensor, gradient)

    def _by_product(self, x: Tensor, up: Tensor) -> Tensor:
        """Σ over rows and places of ``up`` times the patch: one product, (U, R·places) by (R·places, …)."""
        conv = self.conv
        side, step, p = conv.kernel_size[0], conv.stride[0], conv.kernel_size[0] // 2
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, p, p, p, p))
        windows = padded.unfold(1, side, step).unfold(2, side, step)  # (R, H', W', C, side, side)
        patches = windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, side * side * x.shape[1])
        made = up.permute(0, 2, 3, 1).reshape(-1, up.shape[1]).T @ patches
        return made.view(-1, side, side, x.shape[1]).permute(0, 3, 1, 2)  # as the weights lie


class ConvNorm(nn.Module):
    """h = batch-norm(max-pool(f(W ∗ x + b))), so that goodness is measured behind both (CwC).

    Papachristodoulou et al. 2024, arXiv:2312.12668. In a pass in which it does not learn the block runs on
    its running statistics.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        channels: U.
        kernel: side of the filters, odd.
        stride: places between two of them.
        groups: groups of channels that see only their like.
        activation: f.
        bias: whether there is a b.
        pool: side of the pooling; 1 for none.
        eps: added to variances.
        init: as for a convolution.

    Raises:
        ValueError: as for a convolution, or when nothing is left of an image to pool.
    """

    examples = ({"channels": 6, "pool": 2},)

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: Count,
        kernel: Count = 3,
        stride: Count = 1,
        groups: Count = 1,
        activation: ActivationName = "relu",
        bias: bool = True,
        pool: Count = 1,
        eps: Positive = 1e-4,
        init: Init = "uniform",
    ) -> None:
        super().__init__()
        self.conv = Conv(in_shape, channels, kernel, stride, groups, activation, bias, init=init)
        left = tuple(-(-side // stride) for side in in_shape[1:])
        if min(left) < pool:
            raise ValueError(f"pool: {pool} is more than the image of {left[0]}×{left[1]} that is left")
        self.pool = pool
        self.norm = nn.BatchNorm2d(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, U, H / (stride · pool), W / (stride · pool))."""
        made = self.conv(x)
        return cast(Tensor, self.norm(F.max_pool2d(made, self.pool) if self.pool > 1 else made))


def _check(shape: tuple[int, ...], channels: int, kernel: int, stride: int, groups: int) -> None:
    if len(shape) != 3:
        raise ValueError(f"a convolution needs images of C×H×W, samples have shape {shape}")
    if kernel % 2 == 0:
        raise ValueError(f"kernel: {kernel} is even; the middle of the filter needs a place of its own")
    if min(shape[1:]) < stride:
        raise ValueError(
            f"stride: {stride} is more than the image of {shape[1]}×{shape[2]} has left; use fewer blocks "
            "with a stride, or larger images"
        )
    for what, count in (("channels", channels), ("the input's channels", shape[0])):
        if count % groups:
            raise ValueError(f"groups: {groups} groups do not divide {what}, {count}")
