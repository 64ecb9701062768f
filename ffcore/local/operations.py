"""Counts the operations of matrix products and convolutions; corrects torch's counter.

    convolution, backward        torch counts those of groups too often
    attention on a CPU           torch counts nothing:
        forward   Q Kᵀ and A V                  2 B H N M (D + E)
        backward  Q Kᵀ again, and gradients     2 B H N M (3 D + 2 E)

B rows; H heads; N, M positions of queries and keys; D, E features of keys and values; A (N, M) attention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ffcore.private import attention_on_a_cpu


def _of_convolution(
    up: Sequence[int], x: Sequence[int], weight: Sequence[int], *others: Any, out_shape: Any = None
) -> int:
    """Return the operations of a convolution's backward pass.

    Args:
        up: shape of the derivative by the output.
        x: shape of the input.
        weight: shape of the weight, (U, C/groups, …).
        others: further arguments: bias, stride, padding, dilation, transposed, padding, groups, mask.
        out_shape: shapes of the results.
    """
    transposed, mask = others[4], others[7]
    places = x if transposed else up
    forward: int = 2 * places[0] * math.prod(places[2:]) * math.prod(weight)
    return forward * (bool(mask[0]) + bool(mask[1]))


def _of_attention(q: Sequence[int], k: Sequence[int], v: Sequence[int], *others: Any, **more: Any) -> int:
    """Return the operations of attention: shapes (B, H, N, D), (B, H, M, D) and (B, H, M, E)."""
    return 2 * math.prod(q[:3]) * k[2] * (q[3] + v[3])


def _of_attention_backward(
    up: Any, q: Sequence[int], k: Sequence[int], v: Sequence[int], *others: Any, **more: Any
) -> int:
    """Return the operations of its backward pass."""
    return 2 * math.prod(q[:3]) * k[2] * (3 * q[3] + 2 * v[3])


def counter() -> FlopCounterMode:
    """Return a counter of operations, two for each multiplication; it counts while it is entered.

    >>> with counter() as operations:
    ...     made = torch.rand(2, 3) @ torch.rand(3, 5)
    >>> operations.get_total_flops() // 2
    30
    """
    forward, backward = attention_on_a_cpu()
    formulas = {
        torch.ops.aten.convolution_backward: _of_convolution,
        forward: _of_attention,
        backward: _of_attention_backward,
    }
    return FlopCounterMode(display=False, custom_mapping=formulas)
