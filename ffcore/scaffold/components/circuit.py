"""Blocks that see each other.

    h1 = f(W1 [x, h2]),  h2 = f(W2 h1)        twice; h2 is 0 at first

R rows; D values of a sample; U units.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ffcore.interfaces import Circuit, Context, Views
from ffcore.options import Count


class Pair(nn.Module):
    """Dense layer on the concatenation of its inputs, with a ReLU.

    Args:
        inputs: number of values of all inputs.
        units: number of units.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, units)

    def forward(self, *inputs: Tensor) -> Tensor:
        """(R, …) each → (R, U)."""
        made: Tensor = self.linear(torch.cat([x.flatten(1) for x in inputs], 1)).relu()
        return made


def _scaled(h: Tensor) -> Tensor:
    """Return rows with a mean square of 1: a block must not read the goodness of the one before it."""
    return h / (h.square().mean(1, keepdim=True).sqrt() + 1e-6)


class Mine(Circuit):
    """Two blocks; the first also reads the second.

    Args:
        units: number of units U of each block.
    """

    examples = ({"units": 8},)
    calls, reads = 2, range(1, 2)

    def __init__(self, units: Count) -> None:
        super().__init__()
        self.units = units

    def setup(self, context: Context) -> None:
        """Make the blocks; they have the recipe's goodness, objective and optimiser."""
        assert context.block is not None, "the builder of circuits gives it"
        inputs = math.prod(context.shape)
        self.lower = context.block("lower", Pair(inputs + self.units, self.units))
        self.upper = context.block("upper", Pair(self.units, self.units))

    def forward(self, x: Tensor, views: Views) -> Tensor:
        """Call each block twice. In a learning pass it learns in each of its calls."""
        above = x.new_zeros(len(x), self.units)
        for _ in range(self.calls):
            below = _scaled(self.lower(x.flatten(1), above))
            above = _scaled(self.upper(below))
        return above
