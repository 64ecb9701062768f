"""Operator profiles: sets of ONNX operators that a simple engine has, and decompositions that keep to them.

    minimal: matrix products and convolutions, elementwise arithmetic, reductions, and changes of layout

    relu'(h) g         sign(max(h, 0)) g
    softplus(x)        max(x, 0) + ln(1 + exp(−|x|))
    log-softmax(x)     x − max − ln Σ exp(x − max)
    ‖x‖                √Σ x²
    row y of a table   onehot(y) · table, onehot(y)_k = max(1 − |y − k|, 0), exact for integers
    a mod n            a − n sign(max(a − n + 1, 0)), for integers 0 ≤ a < 2n

No operator compares, selects or indexes; integers appear in labels only. Tables are finite, 0 ≤ y < rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ffcore.errors import UserError

aten = torch.ops.aten

PROFILES: dict[str, frozenset[str]] = {
    "minimal": frozenset(
        {
            *("Gemm", "MatMul", "Conv", "ConvTranspose"),
            *(
                "Relu",
                "Add",
                "Sub",
                "Mul",
                "Div",
                "Neg",
                "Abs",
                "Sign",
                "Sqrt",
                "Exp",
                "Log",
                "Sigmoid",
                "Tanh",
            ),
            *("Max", "Min", "ReduceSum", "ReduceMean", "ReduceMax"),
            *("Reshape", "Transpose", "Slice", "Concat", "Squeeze", "Unsqueeze", "Expand", "Identity"),
            *("Cast", "Constant"),
        }
    )
}


def refuse_operators(profile: str, operators: Mapping[str, Mapping[str, int]]) -> None:
    """Raise if a graph has operators that are not in a profile.

    Raises:
        UserError: with the file and the operators.
    """
    for file, used in operators.items():
        others = {name: count for name, count in used.items() if name not in PROFILES[profile]}
        if others:
            listed = ", ".join(f"{name} ({count})" for name, count in others.items())
            raise UserError(
                f"export: {file} needs operators that the profile {profile} does not have: {listed}"
            )


def table(profile: str | None) -> dict[Any, Callable[..., Any]]:
    """Return the decompositions of a profile, by operation."""
    if profile is None:
        return {}
    return {
        aten.pow.Tensor_Scalar: _pow,
        aten.reciprocal.default: lambda x: torch.div(torch.ones_like(x), x),
        aten.square.default: lambda x: x * x,
        aten.softplus.default: _softplus,
        aten.linalg_vector_norm.default: _norm,
        aten.norm.ScalarOpt_dim: lambda x, p, dim, keepdim=False: _norm(x, p, dim, keepdim),
        aten.threshold_backward.default: _threshold_backward,
        aten.threshold_backward.grad_input: _threshold_backward_to,
        aten.clamp_min.default: lambda x, least: torch.maximum(x, x.new_full((), least)),
        aten.clamp_max.default: lambda x, most: torch.minimum(x, x.new_full((), most)),
        aten.clamp.default: _clamp,
        aten.index.Tensor: _index,
        aten.index_select.default: _gather_rows,
        aten.remainder.Scalar: _remainder,
        aten.repeat.default: _repeat,
        aten._log_softmax.default: _log_softmax,
        aten._log_softmax_backward_data.default: lambda g, y, dim, dtype: (
            g - y.exp() * g.sum(dim, keepdim=True)
        ),
        aten._softmax.default: _softmax,
        aten._softmax_backward_data.default: lambda g, y, dim, dtype: (
            y * g - y * (y * g).sum(dim, keepdim=True)
        ),
        aten.arange.default: lambda end, **options: _arange(0, end, 1, **options),
        aten.arange.start: lambda start, end, **options: _arange(start, end, 1, **options),
        aten.arange.start_step: _arange,
        aten.rsqrt.default: lambda x: torch.div(torch.ones_like(x), x.sqrt()),
    }


def onehot(y: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Return (N, count) of integers (N,), without a comparison."""
    places = torch.tensor([*range(count)], dtype=dtype, device=y.device)
    return (1 - (y.to(dtype).unsqueeze(1) - places).abs()).relu()


def _pow(x: Tensor, exponent: float) -> Any:
    return x * x if exponent == 2 else NotImplemented


def _softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    scaled = x if beta == 1 else x * beta
    made = scaled.relu() + ((-scaled.abs()).exp() + 1).log()
    return made if beta == 1 else made / beta


def _norm(x: Tensor, order: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    if order != 2 or dtype is not None:
        return NotImplemented
    return (x * x).sum(dim, keepdim=keepdim).sqrt()


def _threshold_backward(g: Tensor, h: Tensor, threshold: float) -> Any:
    return g * h.relu().sign() if threshold == 0 else NotImplemented


def _threshold_backward_to(g: Tensor, h: Tensor, threshold: float, *, grad_input: Tensor) -> Any:
    return grad_input.copy_(g * h.relu().sign()) if threshold == 0 else NotImplemented


def _clamp(x: Tensor, least: float | None = None, most: float | None = None) -> Tensor:
    if least is not None:
        x = torch.maximum(x, x.new_full((), least))
    return x if most is None else torch.minimum(x, x.new_full((), most))


def _index(x: Tensor, indices: Sequence[Tensor | None]) -> Any:
    if len(indices) != 1 or indices[0] is None or indices[0].dim() != 1 or not x.dim():
        return NotImplemented
    rows = onehot(indices[0], x.shape[0], x.dtype if x.is_floating_point() else torch.float32)
    return (rows @ x.to(rows.dtype).reshape(x.shape[0], -1)).reshape(-1, *x.shape[1:]).to(x.dtype)


def _gather_rows(x: Tensor, dim: int, index: Tensor) -> Any:
    return _index(x, [index]) if dim == 0 else NotImplemented


def _arange(start: Any, end: Any, step: Any = 1, *, dtype: torch.dtype | None = None, **_: Any) -> Any:
    if not all(isinstance(each, int) for each in (start, end, step)):
        return NotImplemented
    return torch.tensor([*range(start, end, step)], dtype=dtype or torch.int64)


def _remainder(x: Tensor, n: Any) -> Any:
    # of labels: a sum of two numbers below n
    if x.is_floating_point() or not isinstance(n, int):
        return NotImplemented
    value = x.to(torch.float32)
    return (value - n * (value - (n - 1)).relu().sign()).to(x.dtype)


def _repeat(x: Tensor, repeats: Sequence[int]) -> Tensor:
    made = x
    for _ in range(len(repeats) - x.dim()):
        made = made.unsqueeze(0)
    for dim, count in enumerate(repeats):
        if count != 1:
            made = torch.cat([made] * count, dim)
    return made


def _log_softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    shifted = x - x.amax(dim, keepdim=True)
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


def _softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    powers = (x - x.amax(dim, keepdim=True)).exp()
    return powers / powers.sum(dim, keepdim=True)
