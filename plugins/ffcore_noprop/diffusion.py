"""The diffusion of NoProp-DT: noised labels, and the step from one noise level to the next.

    ᾱ_t = sin² θ_t,  θ_t = π/2 · (t + 1)/(T + 2)          t = 0 … T, nearly noise to nearly a label
    SNR(t) = ᾱ_t/(1 − ᾱ_t) = tan² θ_t
    z_t = √ᾱ_t u_y + √(1 − ᾱ_t) ε                          q(z_t | y); u_y the one-hot vector of y
    z_{t−1} = √α_{t−1} z_t + √(1 − α_{t−1}) ε              q(z_{t−1} | z_t); α_{t−1} = ᾱ_{t−1}/ᾱ_t

The posterior q(z_t | z_{t−1}, y) is the product of the last two as functions of z_t: its precision 1/c_t is
1/(1 − ᾱ_t) + α_{t−1}/(1 − α_{t−1}), its mean c_t (√ᾱ_t u_y/(1 − ᾱ_t) + √α_{t−1} z_{t−1}/(1 − α_{t−1})). Since
(1 − α_{t−1}) + α_{t−1} (1 − ᾱ_t) = 1 − ᾱ_{t−1}, that is N(a_t u_y + b_t z_{t−1}, c_t) with

    a_t = √ᾱ_t (1 − α_{t−1})/(1 − ᾱ_{t−1})
    b_t = √α_{t−1} (1 − ᾱ_t)/(1 − ᾱ_{t−1})
    c_t = (1 − ᾱ_t)(1 − α_{t−1})/(1 − ᾱ_{t−1})

A prediction puts û_t(z_{t−1}, x) = softmax(block_t(x, z_{t−1})) in place of u_y, and follows the mean.

T blocks; K classes; R rows; z_t, u (R, K).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

Denoise = Callable[[Tensor, Tensor], Tensor]
"""One block: from an input and z_{t−1} (R, K) to class logits (R, K)."""


class Diffusion(nn.Module):
    """The coefficients of T steps; see the formulas of this module.

    Args:
        steps: T.

    Attributes:
        signal: (T,) √ᾱ_t for t = 0 … T − 1.
        noise: (T,) √(1 − ᾱ_t), likewise.
        a: (T,) a_t for t = 1 … T.
        b: (T,) b_t, likewise.
        gains: T (SNR(t) − SNR(t − 1)) for t = 1 … T, as Python numbers.
    """

    signal: Tensor
    noise: Tensor
    a: Tensor
    b: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        angle = math.pi / 2 * torch.arange(1, steps + 2, dtype=torch.float64) / (steps + 2)
        alpha_bar, left = angle.sin().square(), angle.cos().square()
        alpha = alpha_bar[:-1] / alpha_bar[1:]
        fresh = (1 - alpha) / left[:-1]
        coefficients = {
            "signal": angle.sin()[:-1],
            "noise": angle.cos()[:-1],
            "a": angle.sin()[1:] * fresh,
            "b": alpha.sqrt() * left[1:] / left[:-1],
        }
        for name, value in coefficients.items():
            self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)
        self.gains: list[float] = (steps * angle.tan().square().diff()).tolist()

    def noised(self, t: int, u: Tensor, drawn: Tensor) -> Tensor:
        """Return z_t (R, K) of labels (R, K) and standard normal numbers (R, K)."""
        return self.signal[t] * u + self.noise[t] * drawn

    def chained(self, blocks: Iterable[Denoise], x: Tensor, z: Tensor) -> Tensor:
        """Return the logits (R, K) of the last block, from z_0 (R, K) through all blocks."""
        logits = z
        for t, block in enumerate(blocks):
            if t:
                z = self.a[t - 1] * logits.to(z.dtype).softmax(1) + self.b[t - 1] * z
            logits = block(x, z)
        return logits
