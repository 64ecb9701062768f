"""The layers inside a block.

    h = max(0, W x + b)²

R rows; x (R, *shape) the input, flattened to D values; h (R, U) the activity.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from ffcore.options import Count


class Mine(nn.Module):
    """Dense layer with a squared ReLU.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: number of units U.
    """

    examples = ({"units": 8},)

    def __init__(self, in_shape: tuple[int, ...], units: Count) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(in_shape), units)

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, U)."""
        squared: Tensor = self.linear(x.flatten(1)).relu().square()
        return squared
