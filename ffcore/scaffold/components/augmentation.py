"""Small changes to training samples.

    x' = x + σ ξ,   ξ standard normal

N samples.
"""

from __future__ import annotations

from torch import Tensor

from ffcore.interfaces import Augmentation, BatchRNG
from ffcore.options import NonNegative


class Mine(Augmentation):
    """Adds noise to every value.

    Args:
        size: σ.
    """

    def __init__(self, size: NonNegative = 0.1) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, *shape) → (N, *shape). All random numbers come from ``rng``."""
        return x + self.size * rng.normal("mine", *x.shape[1:]).to(x)
