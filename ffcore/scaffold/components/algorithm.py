"""Which views of a batch the blocks learn from, and how their goodness becomes evidence.

    views       x and x + σ ξ, under the true class
    evidence    the goodness of classes of a pass without noise

N samples; K classes; ξ standard normal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from ffcore.interfaces import Algorithm, Batch, Network, Views
from ffcore.options import NonNegative


class Mine(Algorithm):
    """Every block learns the classes of the samples, and of the samples with noise.

    Args:
        noise: σ.
    """

    example_recipe: ClassVar[Mapping[str, Any]] = {
        "block": {"goodness": "linear-head", "objective": "cross-entropy"}
    }

    def __init__(self, noise: NonNegative = 0.1) -> None:
        super().__init__()
        self.noise = noise

    def views(self, batch: Batch, net: Network) -> Views:
        """Return one view of 2 N rows. `evidence` of `ffcore.interfaces.Algorithm` reads goodness (R, K)."""
        noise = batch.random().normal("mine", *batch.x.shape[1:]).to(batch.x)
        x, y = torch.cat([batch.x, batch.x + self.noise * noise]), torch.cat([batch.y, batch.y])
        return Views(x, ("all",), (len(x),), y=y)
