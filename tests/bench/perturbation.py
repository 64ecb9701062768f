"""Simultaneous perturbation (Spall 1992): the slope of a loss along random signs s in place of its gradient.

∂w = (L(w + c s) − L(w − c s))/2c · s
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def perturbed(parameters: Sequence[nn.Parameter], size: float, loss: Callable[[], Tensor]) -> Tensor:
    """Set ``.grad`` of parameters to the estimate, and return the mean of both losses, with their graphs.

    Args:
        parameters: w, which are restored.
        size: c.
        loss: returns L for the parameters as they are.
    """
    signs = [torch.randint(2, p.shape) * 2.0 - 1 for p in parameters]

    @torch.no_grad()
    def move(by: float) -> None:
        for p, sign in zip(parameters, signs, strict=True):
            p.add_(by * size * sign)

    move(1)
    up = loss()
    move(-2)
    down = loss()
    move(1)
    slope = float(up - down) / (2 * size)
    for p, sign in zip(parameters, signs, strict=True):
        p.grad = slope * sign
    return torch.stack([up, down]).mean()
