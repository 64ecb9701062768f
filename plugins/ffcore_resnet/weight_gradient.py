"""The gradient of a convolution's weights, as one matrix product where that is faster.

    patches  P[(r, p), (i, j, c)] = x[r, c, p + (i, j)]        (R·P, k·k·C)
    gradient ∂L/∂W = upᵀ P                                     (U, k·k·C)

R rows; C channels in, U out; P output positions; k side of the filters; up = ∂L/∂a (R, U, H', W').
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_FEW = 16
"""Up to this number of output pixels, the product is faster than torch's gradient of weights."""


def of_weight(conv: nn.Conv2d, x: Tensor, up: Tensor) -> Tensor:
    """Return ∂L/∂W of a convolution that is padded by kernel // 2; x and up are channels-last."""
    if conv.groups == 1 and x.device.type == "cpu" and up.shape[2] * up.shape[3] <= _FEW:
        return _by_product(x, up, conv.kernel_size[0], conv.stride[0])
    _, gradient, _ = torch.ops.aten.convolution_backward(
        *(up, x, conv.weight, None, conv.stride, conv.padding, conv.dilation),
        *(False, [0, 0], conv.groups, [False, True, False]),
    )
    return cast(Tensor, gradient)


def convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return ``conv(x)``; small maps in bfloat16 on CPUs have the product as their gradient.

    There torch's own gradient of the weights takes 2 to 7 times as long. In float32 the difference is small,
    so autograd stays with torch's.
    """
    if not (torch.is_autocast_enabled(x.device.type) or x.dtype == torch.bfloat16):
        return cast(Tensor, conv(x))
    kind = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
    stride, side = conv.stride[0], conv.kernel_size[0]
    positions = (-(-x.shape[2] // stride)) * (-(-x.shape[3] // stride))
    small = positions <= _FEW and conv.groups == 1 and x.device.type == "cpu" and kind == torch.bfloat16
    if not (small and torch.is_grad_enabled() and conv.weight.requires_grad):
        return cast(Tensor, conv(x))
    bias = None if conv.bias is None else conv.bias.to(kind)
    made: Tensor = _SmallMaps.apply(x.to(kind), conv.weight.to(kind), bias, stride, side)  # type: ignore[no-untyped-call]
    return made


class _SmallMaps(torch.autograd.Function):
    """A convolution whose gradient of the weights is one matrix product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, side: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.side = stride, side
        return F.conv2d(x, weight, bias, stride, side // 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *ups: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (up,) = ctx.saved_tensors, ups
        stride, side = ctx.stride, ctx.side
        up = up.contiguous(memory_format=torch.channels_last)
        of_x = of_w = of_b = None
        if ctx.needs_input_grad[0]:
            of_x, _, _ = torch.ops.aten.convolution_backward(
                *(up, x, weight, None, [stride] * 2, [side // 2] * 2, [1, 1]),
                *(False, [0, 0], 1, [True, False, False]),
            )
        if ctx.needs_input_grad[1]:
            of_w = _by_product(x, up, side, stride)
        if ctx.needs_input_grad[2]:
            of_b = up.sum((0, 2, 3))
        return of_x, of_w, of_b, None, None


def _by_product(x: Tensor, up: Tensor, side: int, stride: int) -> Tensor:
    padding = side // 2
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    windows = padded.unfold(1, side, stride).unfold(2, side, stride)  # (R, H', W', C, side, side)
    patches = windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, side * side * x.shape[1])
    made = up.permute(0, 2, 3, 1).reshape(-1, up.shape[1]).T @ patches
    return made.view(-1, side, side, x.shape[1]).permute(0, 3, 1, 2)  # in the weights' shape
