"""Augmentations of samples of any shape: tables, signals, sequences, images.

    noise:  x ← x + s·n,  n standard normal
    mask:   x_t ← v with probability p, t the positions along one dimension

N samples.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ffcore.interfaces import Augmentation, BatchRNG
from ffcore.options import Fraction, NonNegative


class Noise(Augmentation):
    """Adds normal noise to every value.

    Args:
        scale: standard deviation s of the noise, in the units of the loader's samples.
    """

    def __init__(self, scale: NonNegative = 0.1) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, *shape) → (N, *shape)."""
        return x + self.scale * rng.normal("noise", *x.shape[1:]).to(x.dtype)


class Mask(Augmentation):
    """Replaces random positions: columns of a table, tokens, steps of a signal.

    Args:
        share: probability p that a position is replaced.
        value: what replaces its values; for tokens the number of a mask token.
        dim: the dimension of a sample that counts the positions: 0 for a row (D,), tokens (T,) and vectors
            (T, D); -1 for signals (C, T).
    """

    def __init__(self, share: Fraction = 0.2, value: float = 0.0, dim: Literal[0, -1] = 0) -> None:
        super().__init__()
        self.share, self.value, self.dim = share, value, dim

    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, *shape) → (N, *shape)."""
        along = 1 if self.dim == 0 else x.dim() - 1
        sides = [1] * x.dim()
        sides[0], sides[along] = x.shape[0], x.shape[along]
        hidden = (rng.uniform("mask", x.shape[along]) < self.share).view(sides)
        return torch.where(hidden, torch.tensor(self.value, dtype=x.dtype, device=x.device), x)
