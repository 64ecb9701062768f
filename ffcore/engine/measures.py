"""Measures of tasks other than the classification of samples, from torchmetrics.

L sources; N samples; n measured rows; K columns.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ffcore.engine.metrics import Accuracy
from ffcore.errors import RunError
from ffcore.interfaces import ALONE, Batch, Ranks, Task, shared_by
from ffcore.network import Network
from ffcore.tasks import Classification


class TaskMeasures:
    """The measures of a task for the combined scores, and its headline for every source.

    Args:
        task: the task.
        sources: number of sources L.

    Attributes:
        names: names of the measures; without targets that of the headline, which is measured of the network.
    """

    def __init__(self, task: Task, sources: int) -> None:
        self.task = task
        self.names = [*task.measures()] or [task.headline]
        self.sources = sources
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._combined = self.task.precise_measures()
        self._sources: list[Metric] = []
        if self._combined:
            self._sources = [self.task.precise_measures()[self.task.headline] for _ in range(self.sources)]
        self._undefined = 0

    def update(self, evidence: Tensor, combined: Tensor, y: Tensor) -> None:
        """Add a batch: evidence (L, N, *P, K), combined scores (N, *P, K) and targets on one device."""
        rows, targets = self.task.measurable(combined, y)
        if not len(rows):
            return
        self._undefined += int(rows.isnan().flatten(1).any(1).sum())
        if self._undefined:
            return
        for metric in self._combined.values():
            metric.to(rows.device).update(rows, targets)
        if self._sources:
            for metric, of_source in zip(self._sources, evidence, strict=True):
                metric.to(rows.device).update(*self.task.measurable(of_source, y))

    def metrics(self, ranks: Ranks = ALONE) -> dict[str, Any]:
        """Return the measures over all ranks as numbers, and ``per_source``, the headline of each source.

        Raises:
            RunError: when scores are NaN.
        """
        if undefined := sum(ranks.objects(self._undefined)):
            raise RunError(f"the scores of {undefined} samples or positions are NaN, so nothing is predicted")
        made: dict[str, Any] = {name: _value(m, ranks) for name, m in self._combined.items()}
        of_sources = [_value(metric, ranks) for metric in self._sources]
        return {**made, "per_source": of_sources or [math.nan] * self.sources}


def measures_of(task: Task, sources: int) -> Accuracy | TaskMeasures:
    """Return the measures of a task. The classification of samples has counts that do not wait for a GPU."""
    return Accuracy(sources, task.columns) if type(task) is Classification else TaskMeasures(task, sources)


def own_measures(net: Network, batch: Batch, shared: Ranks = ALONE) -> Mapping[str, Tensor]:
    """Return the algorithm's own metrics of the samples, (N,) by name; without targets also losses.

    Those are ``loss/NAME``, the local loss of every block, and ``loss``, their mean.
    """
    own = net.algorithm.measure(batch, net.local)
    if net.task.target != "none":
        return own
    with shared_by(shared):
        losses = net.local.losses(net.algorithm.views(batch, net.local))
    loss = sum(losses.values(), torch.zeros((), device=batch.index.device)) / max(1, len(losses))
    headline = net.task.headline
    of_all = {headline: loss, **{f"{headline}/{name}": each for name, each in losses.items()}}
    return {**own, **{name: each.expand(len(batch.index)) for name, each in of_all.items()}}


def score(task: Task, metrics: Mapping[str, Any]) -> float:
    """Return the headline of the task, so that larger is better; −∞ if it is not defined."""
    value = float(metrics[task.headline])
    if math.isnan(value):
        return -math.inf
    return -value if task.lower else value


def _value(metric: Metric, ranks: Ranks) -> float:
    """Return the value of a metric over all ranks; NaN without a row, or where it is not defined."""
    if ranks.world > 1:
        metric = _merged(metric, ranks.objects((metric.update_count, metric.metric_state)))
    if not metric.update_count:
        return math.nan
    with warnings.catch_warnings():
        # of a label without a positive sample, and the like: the value is then NaN, or leaves the label out
        warnings.simplefilter("ignore", UserWarning)
        try:
            return float(torch.as_tensor(metric.compute()))
        except ValueError:  # R² of one sample
            return math.nan


def _merged(metric: Metric, parts: Sequence[tuple[int, Mapping[str, Any]]]) -> Metric:
    """Return a metric with the updates of all ranks: their numbers and states."""
    whole = metric.clone()
    whole.reset()
    for count, state in parts:
        if count:
            whole.merge_state(dict(state))
    whole._update_count = sum(count for count, _ in parts)
    return whole
