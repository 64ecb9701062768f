"""The head of networks whose last block returns images.

    m_rc = mean over the positions of channel c;  logits = W m + b

R rows; C channels; U outputs; x (R, C, *positions).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffcore.options import Count


class PooledDense(nn.Module):
    """Dense layer on the mean of every channel, W m + b.

    Its size does not depend on that of the image. The handoff before it has to keep the means of the
    channels, as batch norm does and instance norm does not.

    Args:
        in_shape: (C, *positions) of one input; the builder supplies it.
        units: number of outputs U.

    Raises:
        ValueError: when inputs are not images.
    """

    def __init__(self, in_shape: tuple[int, ...], units: Count) -> None:
        super().__init__()
        if len(in_shape) < 2:
            raise ValueError(f"pooling needs channels of several pixels, inputs have shape {in_shape}")
        self.linear = nn.Linear(in_shape[0], units)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, *positions) → (R, U)."""
        return torch.nn.functional.linear(x.flatten(2).mean(2), self.linear.weight, self.linear.bias)
