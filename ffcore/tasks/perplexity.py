"""Perplexity and cross-entropy of rows, from torchmetrics; imported when they are measured.

n rows; K classes.
"""

from __future__ import annotations

from torch import Tensor
from torchmetrics.text import Perplexity as _Perplexity


class Perplexity(_Perplexity):
    """exp of the mean cross-entropy of rows: of scores (n, K) and their classes (n,)."""

    def __init__(self) -> None:
        super().__init__(sync_on_compute=False)  # type: ignore[arg-type]

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add rows."""
        super().update(preds[None], target[None])


class CrossEntropy(Perplexity):
    """Mean cross-entropy of rows in nats, of scores (n, K) and their classes (n,)."""

    def compute(self) -> Tensor:
        """Return the mean: the logarithm of the perplexity would overflow."""
        return self.total_log_probs / self.count
