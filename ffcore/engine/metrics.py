"""How good predictions are: of all evidence together, and of every source alone.

L sources; N samples; K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric


class Accuracy(Metric):
    """Confusion of the combined prediction, and the hits of each source of evidence alone.

    Args:
        sources: number of sources L.
        classes: number of classes K.
    """

    full_state_update = False
    hits: Tensor
    confusion: Tensor

    def __init__(self, sources: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.add_state("hits", torch.zeros(sources, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("confusion", torch.zeros(classes, classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, scores: Tensor, combined: Tensor, y: Tensor) -> None:
        """Count a batch.

        Args:
            scores: (L, N, K) evidence.
            combined: (N, K) what the layer contribution makes of it.
            y: (N,) true classes.
        """
        self.hits += (scores.argmax(2) == y).sum(1)
        pairs = y * self.classes + combined.argmax(1)
        self.confusion += torch.bincount(pairs, minlength=self.classes**2).view_as(self.confusion)

    def figures(self) -> dict[str, Any]:
        """``accuracy``, ``per_source`` (L) and ``confusion`` (K by K) as plain numbers and lists."""
        counts = self.compute()
        confusion: list[list[int]] = counts["confusion"].tolist()
        total = max(1, sum(map(sum, confusion)))
        hits = counts["hits"].reshape(-1).tolist()  # torchmetrics makes a scalar of what has one element
        return {
            "accuracy": sum(row[k] for k, row in enumerate(confusion)) / total,
            "per_source": [count / total for count in hits],
            "confusion": confusion,
        }

    def compute(self) -> dict[str, Tensor]:
        """The counts, summed over ranks: ``hits`` (L,) and ``confusion`` (K, K), rows are true classes."""
        return {"hits": self.hits, "confusion": self.confusion}


class Measures:
    """Means over samples of an algorithm's own figures; see `ffcore.interfaces.Algorithm.measure`."""

    def __init__(self) -> None:
        self._means: dict[str, MeanMetric] = {}

    def update(self, values: Mapping[str, Tensor]) -> None:
        """Add a batch, (N,) by name."""
        for name, of_samples in values.items():
            self._means.setdefault(name, MeanMetric().to(of_samples.device)).update(of_samples)

    def figures(self) -> dict[str, float]:
        """The means, as plain numbers."""
        return {name: float(mean.compute()) for name, mean in self._means.items()}
