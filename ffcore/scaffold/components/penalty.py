"""A term that is added to a block's objective.

    L = w · mean |h|

R rows; h (R, *shape) the activity of the block.
"""

from __future__ import annotations

from torch import Tensor

from ffcore.interfaces import Block, Out, Penalty, Views
from ffcore.options import NonNegative


class Mine(Penalty):
    """Mean absolute activity, for sparse features.

    Args:
        weight: w.
    """

    def __init__(self, weight: NonNegative = 0.01) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """Return the term, a scalar with its weight applied."""
        return self.weight * out.activity.abs().mean()
