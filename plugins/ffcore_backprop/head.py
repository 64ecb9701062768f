"""The head of networks that end in images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffcore.options import Count


class PooledDense(nn.Module):
    """W m + b of the means m of every channel: a head that does not grow with the image.

    It needs a handoff that leaves channels their means, as batch norm does and instance norm does not.

    Args:
        in_shape: (C, *places) of one input; the builder supplies it.
        units: number of outputs U.

    Raises:
        ValueError: when inputs are no images.
    """

    def __init__(self, in_shape: tuple[int, ...], units: Count) -> None:
        super().__init__()
        if len(in_shape) < 2:
            raise ValueError(f"pooling needs channels of several places, inputs have shape {in_shape}")
        self.linear = nn.Linear(in_shape[0], units)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, *places) → (R, U)."""
        return torch.nn.functional.linear(x.flatten(2).mean(2), self.linear.weight, self.linear.bias)
