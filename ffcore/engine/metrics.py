"""Accuracy of the combined evidence and of every source, and means of the algorithm's metrics.

L sources; N samples; K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from ffcore.errors import RunError, UserError
from ffcore.interfaces import ALONE, Ranks
from ffcore.local.returned import described


class Accuracy(Metric):
    """Confusion matrix of the combined prediction, and correct predictions of each source.

    Args:
        sources: number of sources L.
        classes: number of classes K.
    """

    full_state_update = False
    hits: Tensor
    confusion: Tensor
    undefined: Tensor
    blank: Tensor

    def __init__(self, sources: int, classes: int) -> None:
        super().__init__(sync_on_compute=False)  # `metrics` sums over the given ranks instead
        self.classes = classes
        self.add_state("hits", torch.zeros(sources, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("undefined", torch.zeros(1, dtype=torch.long), dist_reduce_fx="sum")
        # samples without evidence of a source: the message names the cause of undefined scores
        self.add_state("blank", torch.zeros(sources, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("confusion", torch.zeros(classes, classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, scores: Tensor, combined: Tensor, y: Tensor) -> None:
        """Count a batch.

        Args:
            scores: (L, N, K) evidence.
            combined: (N, K) scores of the layer contribution.
            y: (N,) true classes.
        """
        self.undefined += combined.isnan().any(1).sum()
        self.blank += scores.isnan().any(2).sum(1)
        self.hits += (scores.argmax(2) == y).sum(1)
        # a confusion matrix in one bincount: each pair (true, predicted) is one integer
        pairs = y * self.classes + combined.argmax(1)
        self.confusion += torch.bincount(pairs, minlength=self.classes**2).view_as(self.confusion)

    def metrics(self, ranks: Ranks = ALONE) -> dict[str, Any]:
        """Return ``accuracy``, ``per_source`` (L) and ``confusion`` (K, K) over all ranks, as lists.

        Raises:
            RunError: when scores are NaN, of which no class is the largest.
        """
        # not compute(), which warns on a rank without a batch
        counts = {name: ranks.sum(count.clone()) for name, count in self._counts().items()}
        confusion: list[list[int]] = counts["confusion"].tolist()
        total = max(1, sum(map(sum, confusion)))
        if undefined := int(counts["undefined"]):
            blank = counts["blank"].reshape(-1).tolist()
            source = next((i + 1 for i, count in enumerate(blank) if count), None)
            cause = "the evidence is not NaN, so combine of the contribution returns NaN"
            if source is not None:
                cause = f"the algorithm's evidence of source {source} of {len(blank)} is NaN"
            raise RunError(
                f"the scores of {undefined} of {total} samples are NaN, so no class is predicted: {cause}"
            )
        hits = counts["hits"].reshape(-1).tolist()
        return {
            "accuracy": sum(row[k] for k, row in enumerate(confusion)) / total,
            "per_source": [count / total for count in hits],
            "confusion": confusion,
        }

    def compute(self) -> dict[str, Tensor]:
        """Return the counts: ``hits`` and ``blank`` (L,), ``confusion`` (K, K), ``undefined`` ()."""
        return self._counts()

    def _counts(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in ("hits", "blank", "confusion", "undefined")}


EVERYWHERE = {"accuracy", "error", "per_block_accuracy", "confusion"}
"""Metrics of a split that every run has, with any algorithm."""


class Measures:
    """Means over samples of an algorithm's own metrics; see `ffcore.interfaces.Algorithm.measure`."""

    def __init__(self) -> None:
        self._means: dict[str, MeanMetric] = {}

    def update(self, values: Mapping[str, Tensor], samples: int) -> None:
        """Add a batch, (N,) by name.

        Raises:
            UserError: when a name is that of a metric that every run has, or a value is not (N,).
        """
        if not isinstance(values, Mapping):
            right = "a mapping from names to tensors"
            raise UserError(f"algorithm: measure returned {described(values)}; it should return {right}")
        if clash := sorted(values.keys() & EVERYWHERE):
            raise UserError(f"{clash[0]!r} is a metric of every run; the algorithm's own needs another name")
        for name, of_samples in values.items():
            if not isinstance(of_samples, Tensor) or of_samples.shape != (samples,):
                given = tuple(of_samples.shape) if isinstance(of_samples, Tensor) else of_samples
                raise UserError(
                    f"algorithm: measure returned {name} as {given!r}; it should be a tensor ({samples},), a "
                    "number for each sample"
                )
            mean = self._means.setdefault(name, MeanMetric(sync_on_compute=False).to(of_samples.device))
            mean.update(of_samples)

    def metrics(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """Return the means over all ranks, as Python numbers."""
        if ranks.world == 1:
            return {name: float(mean.compute()) for name, mean in self._means.items()}
        own = {name: (float(m.compute()), float(m.weight)) for name, m in self._means.items()}
        sums: dict[str, list[float]] = {}
        for of_rank in ranks.objects(own):
            for name, (mean, count) in of_rank.items():
                total = sums.setdefault(name, [0.0, 0.0])
                total[0] += mean * count
                total[1] += count
        return {name: total / max(count, 1.0) for name, (total, count) in sums.items()}
