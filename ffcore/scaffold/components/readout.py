"""A classifier on what blocks hand on.

    logits = W mean_l z_l + b

R rows; K classes; z_l (R, *shape) the handoff of block l, all of one shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ffcore.interfaces import Context, Readout


class Mine(Readout):
    """Linear classifier on the mean of the handoffs that have the shape of the last one."""

    def setup(self, context: Context) -> tuple[str, ...]:
        """Make the weights; return the names of the blocks to read."""
        shape = context.features[-1].handoff_shape
        self.linear = nn.Linear(math.prod(shape), context.classes)
        return tuple(block.name for block in context.features if block.handoff_shape == shape)

    def forward(self, *activities: Tensor) -> Tensor:
        """Return logits (R, K) from handoffs (R, *shape) each."""
        logits: Tensor = self.linear(torch.stack([z.flatten(1) for z in activities]).mean(0))
        return logits
