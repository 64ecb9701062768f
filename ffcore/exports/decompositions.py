"""Operations in terms of those that have an ONNX form. torch's own decompositions, and these:

    negative log-likelihood  −Σ_r Σ_k onehot(t)_rk x_rk / R with onehot(t)_rk = [t_r = k]
    convolution's backward   ∂L/∂W = x ⋆ δ, with samples and channels exchanged and the stride as dilation
                             ∂L/∂x = the transposed convolution of δ;  ∂L/∂b = Σ δ
    average pooling's backward   each pixel of a window gets δ / (h w), a transposed convolution with groups
    batch normalisation      y = (x − μ) / √(σ² + ε) w + b; running statistics ← (1 − m) r + m s

x (R, C, H, W) input; W (U, C/groups, h, w) weight; δ (R, U, H', W') derivative of the loss by the output.
R rows; K classes; μ, σ² mean and biased variance of a channel over the batch; s those of the running
statistics, whose variance is unbiased; m the momentum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.exports.profiles import onehot
from ffcore.private import decompositions

aten = torch.ops.aten


def _nll_forward(x: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int) -> Any:
    if weight is not None or x.dim() != 2 or ignore_index >= 0:
        return NotImplemented
    picked = -(x * onehot(target, x.shape[1], x.dtype)).sum(1)
    if reduction == 0:
        return picked, x.new_zeros(())
    total = torch.ones_like(picked).sum()
    return (picked.sum() / total if reduction == 1 else picked.sum()), total


def _nll_backward(
    g: Tensor,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
    total: Tensor,
) -> Any:
    if weight is not None or x.dim() != 2 or ignore_index >= 0:
        return NotImplemented
    up = g.unsqueeze(1) if reduction == 0 else (g / total if reduction == 1 else g)
    return -up * onehot(target, x.shape[1], x.dtype)


def _avg_pool_backward(
    up: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    if ceil_mode or divisor_override is not None or (any(padding) and not count_include_pad) or x.dim() != 4:
        return NotImplemented
    sizes = [*kernel] * (2 // len(kernel))
    return _spread(
        up, x, sizes, [*(stride or sizes)] * (2 // len(stride or sizes)), [*padding] * (2 // len(padding))
    )


def _adaptive_avg_pool_backward(up: Tensor, x: Tensor) -> Any:
    sizes = [h // o for h, o in zip(x.shape[2:], up.shape[2:], strict=True)]
    if x.dim() != 4 or any(h % o for h, o in zip(x.shape[2:], up.shape[2:], strict=True)):
        return NotImplemented
    return _spread(up, x, sizes, sizes, [0, 0])


def _spread(up: Tensor, x: Tensor, kernel: list[int], stride: list[int], padding: list[int]) -> Tensor:
    """Return the derivative of means over windows: each mean gives every pixel of its window a share."""
    share = up.new_full((x.shape[1], 1, *kernel), 1 / (kernel[0] * kernel[1]))
    sides = zip(x.shape[2:], up.shape[2:], kernel, stride, padding, strict=True)
    missing = [h - ((o - 1) * s - 2 * p + k) for h, o, k, s, p in sides]
    return F.conv_transpose2d(up, share, None, stride, padding, missing, x.shape[1])


def _slice_backward(up: Tensor, sizes: Sequence[int], dim: int, first: int, last: int, step: int) -> Any:
    if step != 1:
        return NotImplemented
    size = sizes[dim]
    # an end beyond the size is the size; of a size that is a symbol only the whole can be told apart
    if first == 0 and (up.shape[dim] == size):
        return up.clone()
    parts = [up]
    for place, count in ((0, first), (2, size - first - up.shape[dim])):
        if isinstance(count, int) and count == 0:
            continue
        shape = [*sizes]
        shape[dim] = count
        parts.insert(place, up.new_zeros(shape))
    return torch.cat(parts, dim)


def _remainder(x: Tensor, n: Any) -> Tensor:
    return torch.remainder(x, x.new_full((), n))


def _convolution_backward(
    up: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    mask: Sequence[bool],
) -> Any:
    if transposed or x.dim() != 4:
        return NotImplemented
    of_x = of_w = of_b = None
    if mask[0]:
        sides = zip(x.shape[2:], up.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
        # the transposed convolution returns the smallest input of this output
        missing = [h - ((o - 1) * s - 2 * p + d * (k - 1) + 1) for h, o, k, s, p, d in sides]
        of_x = F.conv_transpose2d(up, weight, None, stride, padding, missing, groups, dilation)
    if mask[1]:
        parts = zip(x.chunk(groups, 1), up.chunk(groups, 1), strict=True)
        of_w = torch.cat([_weight_of(a, b, weight, stride, padding, dilation) for a, b in parts])
    if mask[2]:
        of_b = up.sum((0, 2, 3))
    return of_x, of_w, of_b


def _weight_of(
    x: Tensor,
    up: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    made = F.conv2d(
        x.transpose(0, 1), up.transpose(0, 1), None, tuple(dilation), tuple(padding), tuple(stride)
    )
    return made[:, :, : weight.shape[2], : weight.shape[3]].transpose(0, 1)


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    dims = [0, *range(2, x.dim())]
    sides = [1, -1, *[1] * (x.dim() - 2)]
    if training:
        mean = x.mean(dims)
        var = (x - mean.view(sides)).square().mean(dims)
        if running_mean is not None and running_var is not None:
            count = x.numel() / x.shape[1]
            running_mean.copy_((1 - momentum) * running_mean + momentum * mean)
            running_var.copy_((1 - momentum) * running_var + momentum * (var * (count / (count - 1))))
    else:
        assert running_mean is not None
        assert running_var is not None
        mean, var = running_mean, running_var
    inverse = 1 / (var + eps).sqrt()
    made = (x - mean.view(sides)) * inverse.view(sides)
    if weight is not None:
        made = made * weight.view(sides)
    if bias is not None:
        made = made + bias.view(sides)
    return (made, mean, inverse) if training else (made, x.new_zeros(0), x.new_zeros(0))


def _batch_norm_of(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return _batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps)


def _batch_norm_without(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, training: bool, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _batch_norm(x, weight, bias, None, None, training, momentum, eps)


@cache
def table() -> dict[Any, Callable[..., Any]]:
    """Return the decompositions, for `make_fx`."""
    return {
        **decompositions(
            aten.native_batch_norm_backward,
            aten.native_layer_norm_backward,
            aten.native_group_norm_backward,
            aten.silu_backward,
            aten.mish_backward,
        ),
        aten.nll_loss_forward.default: _nll_forward,
        aten.nll_loss_backward.default: _nll_backward,
        aten.avg_pool2d_backward.default: _avg_pool_backward,
        aten._adaptive_avg_pool2d_backward.default: _adaptive_avg_pool_backward,
        aten.slice_backward.default: _slice_backward,
        aten.remainder.Scalar: _remainder,
        aten.convolution_backward.default: _convolution_backward,
        aten.native_batch_norm.default: _batch_norm,
        aten._native_batch_norm_legit.default: _batch_norm_of,
        aten._native_batch_norm_legit.no_stats: _batch_norm_without,
    }
