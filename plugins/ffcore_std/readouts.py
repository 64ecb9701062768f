"""Readouts: classifiers on the handoffs of blocks.

    logits = W [z_1, z_2, …] + b

R rows; K classes; z_i (R, *shape) the handoff of block i.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.errors import closest
from ffcore.interfaces import Context, Readout
from ffcore.options import BelowOne


class Softmax(Readout):
    """Softmax classifier on the handoffs z of blocks, softmax(W [z_1, z_2, …] + b).

    The weights start at zero, so the first distribution is uniform. Hinton 2022, section 3.3 reads all hidden
    layers except the first, whose activity contains the label.

    Args:
        taps: names of the blocks to read. None: all blocks that use the recipe's loss, except the first of
            them if there are several.
        dropout: share of the inputs that are zero in a learning step.
        bias: whether to add b; Hinton's code does not learn one.
    """

    linear: nn.Linear

    def __init__(
        self, taps: tuple[str, ...] | None = None, dropout: BelowOne = 0.0, bias: bool = True
    ) -> None:
        super().__init__()
        self.taps = taps
        self.dropout = dropout
        self.bias = bias

    def setup(self, context: Context) -> tuple[str, ...]:
        """See `ffcore.interfaces.Readout.setup`.

        Raises:
            ValueError: when ``taps`` is empty, has a block twice, or has one that does not exist.
        """
        names = [block.name for block in context.features]
        if self.taps is not None and len(set(self.taps)) != max(1, len(self.taps)):
            raise ValueError(
                f"readout softmax: taps: {list(self.taps)}: should be different blocks, at least one"
            )
        for name in self.taps or ():
            if name not in names:
                raise ValueError(f"readout softmax: there is no block {name!r}{closest(name, names)}")
        features = [block.name for block in context.features if not block.auxiliary]
        wanted = self.taps if self.taps is not None else tuple(features[1:] or features)
        width = sum(math.prod(block.handoff_shape) for block in context.features if block.name in wanted)
        self.linear = nn.Linear(width, context.classes, bias=self.bias)
        # Zero weights: no class is favoured before the first update.
        nn.init.zeros_(self.linear.weight)
        if self.bias:
            nn.init.zeros_(self.linear.bias)
        return wanted

    def forward(self, *activities: Tensor) -> Tensor:
        """Return the logits, (R, *shape) each → (R, K)."""
        x = torch.cat([a.flatten(1) for a in activities], dim=1)
        if self.dropout and self.training:
            x = F.dropout(x, self.dropout)
        return self.linear(x)  # type: ignore[no-any-return]
