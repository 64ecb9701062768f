"""Activation functions of bodies, with what they do to a gradient on its way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

ActivationName = Literal["relu", "relu-pass-through", "tanh", "identity"]
"""The keys of `ACTIVATIONS`."""


@dataclass(frozen=True, slots=True)
class Activation:
    """A function f, and its derivative as a function of the activity.

    Attributes:
        function: h = f(a); may overwrite a.
        back: (h, ∂/∂h) → ∂/∂a; may overwrite ∂/∂h, and what it returns may be overwritten.
    """

    function: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, Tensor], Tensor]


class _PassThroughReLU(torch.autograd.Function):
    """max(0, x) whose derivative is taken as 1 everywhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def relu_pass_through(x: Tensor) -> Tensor:
    """max(0, x), with a gradient of 1 for silent units too, so that a penalty can revive them.

    On goodness Σh² it changes nothing but that: the goodness' own gradient 2h vanishes where h does.
    """
    return _PassThroughReLU.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def _own(up: Tensor) -> Tensor:
    """A tensor that may be overwritten: an expanded view has one number in many places."""
    return up.contiguous() if 0 in up.stride() else up


def _relu_back(h: Tensor, up: Tensor) -> Tensor:
    """∂/∂h where h > 0, else 0, in place where that can be."""
    if 0 in up.stride():
        return torch.ops.aten.threshold_backward(up, h, 0)  # type: ignore[no-any-return]
    return torch.ops.aten.threshold_backward.grad_input(up, h, 0, grad_input=up)  # type: ignore[no-any-return]


ACTIVATIONS = {
    "relu": Activation(torch.relu_, _relu_back),
    "relu-pass-through": Activation(relu_pass_through, lambda h, up: _own(up)),
    "tanh": Activation(torch.tanh, lambda h, up: up * (1 - h * h)),
    "identity": Activation(lambda a: a, lambda h, up: _own(up)),
}
