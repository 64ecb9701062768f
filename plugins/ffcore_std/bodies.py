"""Dense bodies of local blocks.

    h = f(x Wᵀ + b)
    δ = f'(h) ⊙ ∂L/∂h;  ∂L/∂W = δᵀ x;  ∂L/∂b = Σ_r δ_r

x (R, D); h, δ (R, U); W (U, D); b (U,). R rows; D inputs; U units; M length of a label code.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import LabelledInput, c99
from ffcore.options import Size
from ffcore_std.activations import ACTIVATIONS, ActivationName

Init = Literal["uniform", "normal"]


class Dense(nn.Module):
    """Dense layer on flattened inputs, h = f(W x + b).

    A `LabelledInput` is multiplied in parts: W·base once for all views, W·code for each view.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: number of units U.
        activation: f: relu, relu-pass-through, tanh or identity.
        bias: whether to add b.
        init: "normal": standard deviation 1/√D and b = 0, as in Hinton's code. An input of mean square 1 then
            gives activities of mean square 1/2 after a relu, near the usual threshold. "uniform": in ±1/√D,
            PyTorch's default, with a third of that variance.
    """

    takes_labelled_input = True

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Size,
        activation: ActivationName = "relu",
        bias: bool = True,
        init: Init = "normal",
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(in_shape), units, bias=bias)
        if init == "normal":
            nn.init.normal_(self.linear.weight, std=1 / math.sqrt(self.linear.in_features))
            if bias:
                nn.init.zeros_(self.linear.bias)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(R, *in_shape) → (R, U)."""
        if not isinstance(x, LabelledInput):
            return self.activation.function(self.linear(x.flatten(1)))
        weight, bias = self.linear.weight, self.linear.bias
        shared = F.linear(x.base.flatten(1), weight)
        # The code is non-zero only in the first M features.
        rows = F.linear(x.code, weight[:, : x.code.shape[1]])
        rows.view(-1, *shared.shape).add_(shared)  # adds W·base to the rows of every view
        if x.scale is not None:
            rows = rows * x.scale if bias is None else torch.addcmul(bias, rows, x.scale)
        elif bias is not None:
            rows = rows + bias
        return self.activation.function(rows)

    def c99(self) -> c99.Dense:
        """Return the C form; see `ffcore.interfaces.c99`."""
        return c99.Dense(self.linear, *self.activation.c99)

    def add_gradients(self, x: Tensor, activity: Tensor, up: Tensor) -> None:
        """Gradients of W and b in closed form; see `ffcore.interfaces.ClosedForm`."""
        # Δ of the module docstring.
        up = self.activation.back(activity, up)
        weight, bias = self.linear.weight, self.linear.bias
        if bias is not None and bias.requires_grad:
            add_gradient(bias, up.sum(0))
        if not weight.requires_grad:
            return
        if not isinstance(x, LabelledInput):
            add_gradient(weight, up.T @ x.flatten(1))
            return
        if x.scale is not None:
            up = up.mul_(x.scale)
        base = x.base.flatten(1)
        # the views share base, so their derivatives are summed before the product
        first, *others = up.view(-1, base.shape[0], up.shape[1]).unbind()
        shared = sum(others, first).T @ base
        shared[:, : x.code.shape[1]] += (x.code.T @ up).T  # up.T @ code takes ten times as long
        add_gradient(weight, shared)


def add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    """Add a gradient to ``.grad``, which may be None. Does nothing for a frozen parameter."""
    if not parameter.requires_grad:
        return
    if parameter.grad is None:
        parameter.grad = gradient
    else:
        parameter.grad += gradient
