"""Activation functions of bodies, with their derivatives for closed-form gradients.

h = f(a);  ∂L/∂a = f'(a) · ∂L/∂h        f' is computed from h
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

ActivationName = Literal["relu", "relu-pass-through", "leaky-relu", "tanh", "identity"]
"""The keys of `ACTIVATIONS`."""

SLOPE = 0.01
"""Slope of leaky-relu for negative inputs, torch's default."""


@dataclass(frozen=True, slots=True)
class Activation:
    """A function f, and its derivative as a function of the activity.

    Attributes:
        function: h = f(a); may overwrite a.
        back: (h, ∂L/∂h) → ∂L/∂a; may overwrite ∂L/∂h. The caller may overwrite the result.
        c99: f(a) and f'(a), the latter as a function of h, in C; see `ffcore.interfaces.c99.Dense`.
    """

    function: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, Tensor], Tensor]
    c99: tuple[str, str]


class _PassThroughReLU(torch.autograd.Function):
    """max(0, x) with a derivative of 1 everywhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def relu_pass_through(x: Tensor) -> Tensor:
    """Return max(0, x), with a gradient of 1 also for silent units, so that a penalty can revive them.

    The gradient of the goodness Σh² is 2h, which is 0 for silent units; it is the same as with a relu.
    """
    return _PassThroughReLU.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def _leaky_relu(x: Tensor) -> Tensor:
    return torch.nn.functional.leaky_relu_(x, SLOPE)


def _leaky_relu_back(h: Tensor, up: Tensor) -> Tensor:
    # h has the sign of a, so f' can be computed from it
    return torch.ops.aten.leaky_relu_backward(up, h, SLOPE, True)  # type: ignore[no-any-return]


def _own(up: Tensor) -> Tensor:
    """Return a tensor that may be overwritten. In an expanded view several elements share memory."""
    return up.contiguous() if 0 in up.stride() else up


def _relu_back(h: Tensor, up: Tensor) -> Tensor:
    """Return ∂L/∂h where h > 0, else 0; in place if possible."""
    if 0 in up.stride():
        return torch.ops.aten.threshold_backward(up, h, 0)  # type: ignore[no-any-return]
    return torch.ops.aten.threshold_backward.grad_input(up, h, 0, grad_input=up)  # type: ignore[no-any-return]


_C_RELU = "return a < 0.0f ? 0.0f : a;"  # NaN stays NaN

ACTIVATIONS = {
    # In place: the input is a temporary of the linear layer.
    "relu": Activation(torch.relu_, _relu_back, (_C_RELU, "return h > 0.0f ? 1.0f : 0.0f;")),
    "relu-pass-through": Activation(relu_pass_through, lambda h, up: _own(up), (_C_RELU, "return 1.0f;")),
    "leaky-relu": Activation(
        _leaky_relu,
        _leaky_relu_back,
        (f"return a > 0.0f ? a : {SLOPE}f * a;", f"return h > 0.0f ? 1.0f : {SLOPE}f;"),
    ),
    "tanh": Activation(
        torch.tanh, lambda h, up: up * (1 - h * h), ("return tanhf(a);", "return 1.0f - h * h;")
    ),
    "identity": Activation(lambda a: a, lambda h, up: _own(up), ("return a;", "return 1.0f;")),
}
