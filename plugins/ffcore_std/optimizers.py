"""Common optimisers of torch in their ``fused`` form: one kernel for all parameters of a block.

θ parameters; g gradient; η learning rate; λ weight decay. ``fused`` takes a third of the time of torch's loop
over parameters on a CPU (docs/speed.md).
"""

from __future__ import annotations

from collections.abc import Iterable

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
) -> torch.optim.Optimizer:
    """Stochastic gradient descent, m ← μ m + (1 − τ)(g + λ θ); θ ← θ − η m.

    In the first step m = g + λ θ, as in torch: with τ = 0.9 this step is ten times as large as a later one.

    Args:
        params: parameters of one block.
        lr: learning rate η.
        weight_decay: λ, added to the gradient as λ θ.
        momentum: μ, factor on the previous m.
        dampening: τ, share of the gradient that is left out of m.
        nesterov: whether to use Nesterov momentum.
    """
    return torch.optim.SGD(params, lr, momentum, dampening, weight_decay, nesterov, fused=True)


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
