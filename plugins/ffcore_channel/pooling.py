"""Statistics of each channel over its positions.

    a_rc = α·mean_p h_rcp + β·max_p h_rcp + γ·min_p h_rcp

R rows; C channels; P positions, the product of all further dimensions; h (R, C, *); a (R, C).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_LOW = (torch.bfloat16, torch.float16)


def means(activity: Tensor) -> Tensor:
    """Return the mean of each channel, (R, C, *) → (R, C); float16 and bfloat16 are averaged in float32."""
    wide = torch.float32 if activity.dtype in _LOW else activity.dtype
    if activity.dim() == 2:
        return activity.to(wide)
    return activity.mean(tuple(range(2, activity.dim())), dtype=wide)


def product(rows: Tensor, matrix: Tensor) -> Tensor:
    """Return ``rows @ matrix`` in the wider precision of both, also under autocast, as long sums need."""
    wide = torch.promote_types(rows.dtype, matrix.dtype)
    with torch.autocast(rows.device.type, enabled=False):
        return rows.to(wide) @ matrix.to(wide)


def responses(activity: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Return a_c = α·mean + β·max + γ·min of a channel over its positions, (R, C, *) → (R, C).

    The gradient of a maximum goes to one position that has it. Two positions per channel are saved for
    backward, not the activity. Backward writes one tensor in the shape and memory format of the activity.
    """
    if activity.dim() == 2:
        return (alpha + beta + gamma) * means(activity)
    return _Responses.apply(activity, alpha, beta, gamma)  # type: ignore[no-any-return, no-untyped-call]


class _Responses(torch.autograd.Function):
    """See `responses`. Autograd alone would write a tensor of the activity's size for each statistic."""

    @staticmethod
    def forward(ctx: Any, activity: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
        made = means(activity) * alpha
        top = low = None
        if beta:
            largest, top = _largest(activity)
            made.add_(largest, alpha=beta)
        if gamma:
            smallest, low = _smallest(activity)
            made.add_(smallest, alpha=gamma)
        # Positions only: the activity itself would be far larger.
        ctx.save_for_backward(top, low)
        ctx.factors = alpha, beta, gamma
        ctx.like = activity.shape, activity.dtype, _format_of(activity)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, up: Tensor) -> tuple[Tensor, None, None, None]:
        (alpha, beta, gamma), (shape, dtype, memory_format) = ctx.factors, ctx.like
        top, low = ctx.saved_tensors
        # The statistics may be float32, the activity's gradient has its own dtype.
        up = up.to(dtype)
        grad = torch.empty(shape, dtype=dtype, device=up.device, memory_format=memory_format)
        each = up * (alpha / math.prod(shape[2:]))
        grad.copy_(each.view(*each.shape, *(1,) * (len(shape) - 2)).expand(shape))
        flat = grad.flatten(2)  # a view in all formats that `_format_of` knows
        for factor, place in ((beta, top), (gamma, low)):
            if place is not None:
                flat.scatter_add_(2, place.unsqueeze(2), (factor * up).unsqueeze(2))
        return grad, None, None, None


def _largest(activity: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest value of each channel and a position that has it, (R, C) each."""
    if _pools_faster(activity):
        values, places = F.max_pool2d(activity, activity.shape[2:], return_indices=True)
        return values.flatten(1), places.flatten(1)
    found = activity.flatten(2).max(2)
    return found.values, found.indices


def _smallest(activity: Tensor) -> tuple[Tensor, Tensor]:
    if _pools_faster(activity):
        # Max pooling only exists for maxima.
        values, places = _largest(activity.neg())
        return values.neg_(), places
    found = activity.flatten(2).min(2)
    return found.values, found.indices


def _pools_faster(activity: Tensor) -> bool:
    """Return whether max pooling is faster than a reduction: up to ten times for channels last on a CPU."""
    return activity.device.type == "cpu" and _format_of(activity) == torch.channels_last


def _format_of(activity: Tensor) -> torch.memory_format:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    there = formats.get(activity.dim())
    if there is None or activity.is_contiguous() or not activity.is_contiguous(memory_format=there):
        return torch.contiguous_format
    return there
