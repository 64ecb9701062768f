"""Metrics of validation and test: accuracy of the combined evidence and of each source.

L sources; N samples; K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ffcore.engine.measures import measures_of, own_measures
from ffcore.engine.metrics import Accuracy, Measures
from ffcore.errors import UserError
from ffcore.interfaces import ALONE, Batch, Idle, Ranks, shared_by
from ffcore.local.batch_norm import without_statistics
from ffcore.network import Network


class Measuring(nn.Module):
    """Collects the predictions and losses of a network over the batches of one split.

    Args:
        net: the network.
    """

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.counts = measures_of(net.task, len(net.sources))
        self.logged = ["accuracy"] if isinstance(self.counts, Accuracy) else self.counts.names
        # an algorithm's own metrics may not have these names
        other = not isinstance(self.counts, Accuracy) and net.task.target != "none"
        self._reserved = frozenset(self.logged if other else ())
        # batch norm without running statistics couples samples in evaluation mode too
        self._couples = without_statistics(net) or any(
            b.goodness is not None and b.goodness.couples_samples for b in net.blocks
        )
        self.reset()

    def reset(self) -> None:
        """Forget what was added: of the split before, or of one that ended with an error."""
        self.counts.reset()
        self._measures = Measures()
        self._seen: list[tuple[Tensor, Tensor]] = []  # evidence and classes, for `observe` after the split
        self._losses: dict[str, float] = {}

    def add(
        self, net: Network, batch: Batch, group: Ranks, needs: frozenset[str], counts: bool = True
    ) -> None:
        """Add a batch. If ``needs`` has validation values, the evidence is combined after the split.

        Args:
            net: the network.
            batch: the batch, or this rank's share of it.
            group: the ranks that share the batch.
            needs: see `Contribution.needs`.
            counts: whether this rank gets the evidence.
        """
        shared = group if batch.counts else Idle(group)
        if needs.isdisjoint(("val.loss", "val.scores")):
            # losses and goodness may couple the samples of all ranks
            if batch.counts or net.task.target == "none" or self._couples:
                evidence = self._evidence(net, batch, shared, counts)
                if batch.counts and counts:
                    self._count(net, evidence, batch.y)
            return
        evidence = self._evidence(net, batch, shared).transpose(0, 1)
        self._seen.append((shared.rows(evidence).transpose(0, 1), shared.rows(batch.y)))
        if "val.loss" in needs:
            with shared_by(shared):
                losses = net.local.losses(net.algorithm.views(batch, net.local))
            for name, loss in losses.items() if batch.counts else ():
                self._losses[name] = self._losses.get(name, 0.0) + float(loss) * len(batch.index)

    def metrics(self, net: Network, group: Ranks) -> dict[str, Any]:
        """Return the metrics of the split over all ranks, and reset."""
        if self._seen:
            self._observe(net, group)
        own = self._measures.metrics(group)
        of_network = {}
        if net.task.target == "none":
            of_network = {name: own.pop(name) for name in self.logged if name in own}
        metrics = {**self.counts.metrics(group), **of_network, "measures": own}
        self.reset()
        return metrics

    def _observe(self, net: Network, group: Ranks) -> None:
        """Call the contribution's ``observe`` with the whole split, then count its predictions."""
        scores = torch.cat([evidence for evidence, _ in self._seen], dim=1)
        y = torch.cat([classes for _, classes in self._seen])
        parts = group.objects(self._losses)
        names = dict.fromkeys(name for part in parts for name in part)
        losses = {name: sum(part.get(name, 0.0) for part in parts) / len(y) for name in names}
        wanted = net.contribution.needs
        net.contribution.observe(
            "val",
            by_source(net, losses, scores.device) if "val.loss" in wanted else None,
            *((scores, y) if "val.scores" in wanted else (None, None)),
        )
        if group.rank == 0:  # every rank has the rows of all ranks; count them once
            self._count(net, scores, y)

    def _evidence(self, net: Network, batch: Batch, shared: Ranks, counts: bool = True) -> Tensor:
        """Return evidence (L, N, K), and add the algorithm's own metrics."""
        with net.local.joint():
            # idle ranks take part only if samples are coupled
            with shared_by(shared if self._couples else ALONE):
                evidence = net.measure(batch.x)
            own = own_measures(net, batch, shared)
        if clash := sorted(own.keys() & self._reserved):
            raise UserError(f"{clash[0]!r} is a measure of the task; the algorithm's own needs another name")
        if batch.counts and counts:
            self._measures.update(own, len(batch.index))
        return evidence

    def _count(self, net: Network, evidence: Tensor, y: Tensor) -> None:
        self.counts.update(evidence, net.combine(evidence), y)


def by_source(net: Network, losses: Mapping[str, float], device: torch.device) -> Tensor:
    """Return (L,) losses in the order of the evidence; NaN for a source without one."""
    return torch.tensor([losses.get(source.name, math.nan) for source in net.sources], device=device)
