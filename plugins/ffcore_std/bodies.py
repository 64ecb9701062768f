"""Bodies of local blocks.

R rows; D inputs; U units; M length of a label code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import LabelledInput

Activation = Literal["relu", "relu-pass-through", "tanh", "identity"]
Init = Literal["uniform", "normal"]


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


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu-pass-through": relu_pass_through,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}


class Dense(nn.Module):
    """h = f(W x + b) on flattened inputs.

    A `LabelledInput` is multiplied part by part: W·base once for all views that share it, W·code for each.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: number of units U.
        activation: f: relu, relu-pass-through, tanh or identity.
        bias: whether there is a b.
        init: "uniform" in ±1/√D, PyTorch's own; "normal" with standard deviation 1/√D and b = 0, as in
            Hinton's code.
    """

    takes_labelled_input = True

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: int,
        activation: Activation = "relu",
        bias: bool = True,
        init: Init = "uniform",
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(in_shape), units, bias=bias)
        if init == "normal":
            nn.init.normal_(self.linear.weight, std=1 / math.sqrt(self.linear.in_features))
            if bias:
                nn.init.zeros_(self.linear.bias)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor | LabelledInput) -> Tensor:
        """(R, *in_shape) → (R, U)."""
        if not isinstance(x, LabelledInput):
            return self.activation(self.linear(x.flatten(1)))
        weight, bias = self.linear.weight, self.linear.bias
        shared = F.linear(x.base.flatten(1), weight)
        own = F.linear(x.code, weight[:, : x.code.shape[1]])
        rows = (own.view(-1, *shared.shape) + shared).view_as(own)
        if x.scale is not None:
            rows = rows * x.scale
        return self.activation(rows if bias is None else rows + bias)
