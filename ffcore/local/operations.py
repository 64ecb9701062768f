"""Counts the operations of matrix products and convolutions; corrects torch's counter.

    convolution, backward        torch counts those of groups too often
    attention on a CPU           torch counts nothing:
        forward   Q Kᵀ and A V                  2 B H N M (D + E)
        backward  Q Kᵀ again, and gradients     2 B H N M (3 D + 2 E)
    LSTM on a CPU                torch counts nothing:
        forward                                 2 T B 4 H (F + H), H units
        backward                                twice as many

B rows; T steps; F inputs; H heads; N, M positions of queries and keys; D, E features of keys and values;
A (N, M) attention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

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


def _of_lstm(x: Sequence[int], w: Sequence[int], u: Sequence[int], *others: Any, **more: Any) -> int:
    """Return the operations of a layer: x (T, B, F) or (B, T, F), w (4 H, F), u (4 H, H)."""
    return 2 * x[0] * x[1] * (math.prod(w) + math.prod(u))


def _of_lstm_backward(*given: Any, **more: Any) -> int:
    """Return the operations of its backward pass: gradients of inputs and weights."""
    return 2 * _of_lstm(*given)


class OperationCounter(FlopCounterMode):
    """Counts multiplications while it is entered. torch counts two operations for each.

    In it, torch's layers for attention do not take the fast path of evaluation, one operation without parts.

    >>> with OperationCounter() as operations:
    ...     made = torch.rand(2, 3) @ torch.rand(3, 5)
    >>> operations.multiplications
    30
    """

    def __init__(self) -> None:
        aten, (forward, backward) = torch.ops.aten, attention_on_a_cpu()
        formulas = {
            aten.convolution_backward: _of_convolution,
            forward: _of_attention,
            backward: _of_attention_backward,
            aten.mkldnn_rnn_layer: _of_lstm,
            aten.mkldnn_rnn_layer_backward: _of_lstm_backward,
        }
        super().__init__(display=False, custom_mapping=formulas)
        self._fast = True

    @property
    def multiplications(self) -> int:
        """Number of multiplications so far; also while it is entered."""
        return int(self.get_total_flops()) // 2

    def __enter__(self) -> Self:
        self._fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> Any:
        torch.backends.mha.set_fastpath_enabled(self._fast)
        return super().__exit__(*error)  # type: ignore[no-untyped-call]
