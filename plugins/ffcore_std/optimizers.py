"""Common optimisers of torch in their ``fused`` form: one kernel for all parameters of a block.

    sgd            m ← μ m + (1 − τ)(g + λ θ);  θ ← θ − η m
    sgd, decoupled m ← μ m + (1 − τ) g;  θ ← θ − η (m + λ θ)

θ parameters; g gradient; η learning rate; λ weight decay; m momentum, μ its factor, τ dampening. ``fused``
takes a third of the time of torch's loop over parameters on a CPU (docs/speed.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from ffcore.options import BelowOne, Fraction, NonNegative, Positive


def sgd(
    params: Iterable[nn.Parameter],
    lr: NonNegative = 1e-3,
    weight_decay: NonNegative = 0.0,
    momentum: NonNegative = 0.0,
    dampening: Fraction = 0.0,
    nesterov: bool = False,
    start: Literal["gradient", "zero"] = "gradient",
    decay_biases: bool = True,
    decoupled: bool = False,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent, m ← μ m + (1 − τ)(g + λ θ); θ ← θ − η m.

    In torch the first step has m = g + λ θ. With τ = 0.9 it is ten times as large as a later one, and
    silences units for good; with ``start: zero`` it is (1 − τ)(g + λ θ), as in Hinton's code. That code also
    keeps the decay out of m, ``decoupled: true``: m ← μ m + (1 − τ) g; θ ← θ − η (m + λ θ). Exports take the
    step of torch's SGD only.

    >>> weight = nn.Parameter(torch.tensor([[1.0]]))
    >>> options = {"momentum": 0.9, "dampening": 0.9, "start": "zero", "decoupled": True}
    >>> optimizer = sgd([weight], lr=0.1, weight_decay=0.5, **options)
    >>> weight.grad = torch.tensor([[2.0]])
    >>> optimizer.step()
    >>> round(weight.item(), 4)  # m = 0.2; 1 − 0.1 (0.2 + 0.5)
    0.93

    Args:
        params: parameters of one block.
        lr: learning rate η.
        weight_decay: λ, added to the gradient as λ θ, or to m if ``decoupled``.
        momentum: μ, factor on the previous m.
        dampening: τ, share of the gradient that is left out of m.
        nesterov: whether to use Nesterov momentum.
        start: m before the first step: "zero", or "gradient" for torch's first step.
        decay_biases: whether λ applies to parameters with fewer than two dimensions, such as biases.
        decoupled: whether the decay stays out of the momentum.

    Raises:
        ValueError: for Nesterov momentum with a decoupled decay.
    """
    if decoupled and nesterov:
        raise ValueError("decoupled: true has no Nesterov momentum; set nesterov to false")
    groups: Any = list(params)
    if weight_decay and not decay_biases:
        groups = _without_decay_of_biases(groups)
    made: torch.optim.Optimizer
    if decoupled:
        made = DecoupledSGD(groups, lr, momentum, dampening, weight_decay)
    else:
        made = torch.optim.SGD(groups, lr, momentum, dampening, weight_decay, nesterov, fused=True)
    if start == "zero" and momentum:
        for group in made.param_groups:
            for parameter in group["params"]:
                # torch takes the first gradient only where there is no buffer yet
                made.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return made


class DecoupledSGD(torch.optim.Optimizer):
    """SGD whose weight decay stays out of the momentum, m ← μ m + (1 − τ) g; θ ← θ − η (m + λ θ).

    The update of Hinton's MATLAB code. As in torch's SGD, m is the first gradient if there is no m yet.

    Args:
        params: parameters, or groups of them.
        lr: learning rate η.
        momentum: μ.
        dampening: τ.
        weight_decay: λ.
    """

    def __init__(
        self, params: Any, lr: float, momentum: float, dampening: float, weight_decay: float
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step; returns what ``closure`` returns, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                step = parameter.grad
                if step is None:
                    continue
                if momentum:
                    state = self.state[parameter]
                    if "momentum_buffer" in state:
                        state["momentum_buffer"].mul_(momentum).add_(step, alpha=1 - group["dampening"])
                    else:
                        state["momentum_buffer"] = step.clone()
                    step = state["momentum_buffer"]
                if group["weight_decay"]:
                    parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(step, alpha=-rate)
        return loss


def _without_decay_of_biases(params: list[nn.Parameter]) -> list[dict[str, Any]]:
    """Return two groups, of which the second has no weight decay; empty groups are left out."""
    wide, narrow = ([p for p in params if (p.dim() > 1) == large] for large in (True, False))
    return [
        *([{"params": wide}] if wide else []),
        *([{"params": narrow, "weight_decay": 0.0}] if narrow else []),
    ]


def adam(
    params: Iterable[nn.Parameter],
    lr: NonNegative = 1e-3,
    weight_decay: NonNegative = 0.0,
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999),
    eps: Positive = 1e-8,
) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980).

    Args:
        params: parameters of one block.
        lr: learning rate η.
        weight_decay: λ, added to the gradient as λ θ.
        betas: decay rates of the running means of g and g².
        eps: added to the denominator.
    """
    return torch.optim.Adam(params, lr, betas, eps, weight_decay, fused=True)


def adamw(
    params: Iterable[nn.Parameter],
    lr: NonNegative = 1e-3,
    weight_decay: NonNegative = 1e-2,
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999),
    eps: Positive = 1e-8,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).

    Args:
        params: parameters of one block.
        lr: learning rate η.
        weight_decay: λ; each step multiplies θ by 1 − η λ.
        betas: decay rates of the running means of g and g².
        eps: added to the denominator.
    """
    return torch.optim.AdamW(params, lr, betas, eps, weight_decay, fused=True)


def rmsprop(
    params: Iterable[nn.Parameter],
    lr: NonNegative = 1e-2,
    weight_decay: NonNegative = 0.0,
    alpha: Fraction = 0.99,
    eps: Positive = 1e-8,
    momentum: NonNegative = 0.0,
    centered: bool = False,
) -> torch.optim.Optimizer:
    """RMSprop: the gradient divided by its running root mean square.

    Args:
        params: parameters of one block.
        lr: learning rate η.
        weight_decay: λ, added to the gradient as λ θ.
        alpha: decay rate of the running mean of g².
        eps: added to the denominator.
        momentum: factor on the previous step.
        centered: whether to divide by the standard deviation instead.
    """
    return torch.optim.RMSprop(params, lr, alpha, eps, weight_decay, momentum, centered)
