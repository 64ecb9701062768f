"""Bodies of local blocks.

R rows; D inputs; U units; M length of a label code.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import LabelledInput
from ffcore.options import Count
from ffcore_std.activations import ACTIVATIONS, ActivationName

Init = Literal["uniform", "normal"]


class Dense(nn.Module):
    """h = f(W x + b) on flattened inputs.

    A `LabelledInput` is multiplied part by part: W·base once for all views that share it, W·code for each.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: number of units U.
        activation: f: relu, relu-pass-through, tanh or identity.
        bias: whether there is a b.
        init: "normal" with standard deviation 1/√D and b = 0, as in Hinton's code: an input of mean square 1
            then makes activations of mean square 1/2 after a relu, near the usual threshold; "uniform" in
            ±1/√D is PyTorch's own, of a third of that variance.
    """

    takes_labelled_input = True

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Count,
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
        rows = F.linear(x.code, weight[:, : x.code.shape[1]])
        rows.view(-1, *shared.shape).add_(shared)
        if x.scale is not None:
            rows = rows * x.scale if bias is None else torch.addcmul(bias, rows, x.scale)
        elif bias is not None:
            rows = rows + bias
        return self.activation.function(rows)

    def add_gradients(self, x: Tensor, activity: Tensor, up: Tensor) -> None:
        """Gradients of W and b in closed form; see `ffcore.interfaces.ClosedForm`."""
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
        first, *others = up.view(-1, len(base), up.shape[1]).unbind()
        shared = sum(others, first).T @ base
        shared[:, : x.code.shape[1]] += (x.code.T @ up).T  # up.T @ code takes ten times as long
        add_gradient(weight, shared)


def add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    """Add to ``.grad``, which may be None; nothing for a parameter that does not learn."""
    if not parameter.requires_grad:
        return
    if parameter.grad is None:
        parameter.grad = gradient
    else:
        parameter.grad += gradient
