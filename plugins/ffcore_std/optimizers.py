"""Common optimisers of torch in their ``fused`` form: one kernel for all parameters of a block.

    sgd    m ← μ m + (1 − τ)(g + λ θ);  θ ← θ − η m

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
) -> torch.optim.Optimizer:
    """Stochastic gradient descent, m ← μ m + (1 − τ)(g + λ θ); θ ← θ − η m.

    In torch the first step has m = g + λ θ. With τ = 0.9 it is ten times as large as a later one, and
    silences units for good; with ``start: zero`` it is (1 − τ)(g + λ θ), as in Hinton's code.

    Args:
        params: parameters of one block.
        lr: learning rate η.
        weight_decay: λ, added to the gradient as λ θ.
        momentum: μ, factor on the previous m.
        dampening: τ, share of the gradient that is left out of m.
        nesterov: whether to use Nesterov momentum.
        start: m before the first step: "zero", or "gradient" for torch's first step.
        decay_biases: whether λ applies to parameters with fewer than two dimensions, such as biases.
    """
    groups: Any = list(params)
    if weight_decay and not decay_biases:
        groups = _without_decay_of_biases(groups)
    made = torch.optim.SGD(groups, lr, momentum, dampening, weight_decay, nesterov, fused=True)
    if start == "zero" and momentum:
        for group in made.param_groups:
            for parameter in group["params"]:
                # torch takes the first gradient only where there is no buffer yet
                made.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return made


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
