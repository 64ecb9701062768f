"""What a block wants of its goodness.

    L = mean_n max(0, m − (G⁺_n − G⁻_n))

N samples; G⁺ and G⁻ (N,) goodness of the positive and the negative view.
"""

from __future__ import annotations

from torch import Tensor

from ffcore.interfaces import Objective, Views
from ffcore.options import NonNegative


class Mine(Objective):
    """Margin between the goodness of positives and negatives.

    Args:
        margin: m.
    """

    def __init__(self, margin: NonNegative = 10.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R,) → a scalar. To read goodness of classes (R, K), set ``accepts = "class"``."""
        gap = views.of(goodness, "positive") - views.of(goodness, "negative")
        return (self.margin - gap).relu().mean()
