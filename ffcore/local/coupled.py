"""Losses and goodness that couple the samples of a batch, when several ranks share the batch.

Every rank computes the loss L of the global batch. With n samples, or targets, of N on this rank:

    gradient used here = N/n · dL/d(own rows)

`BlockOptimizer` weights each rank's gradient by n/N in the sum over ranks, and the factors cancel.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ffcore.interfaces import ALONE, Block, Goodness, LocalLoss, Out, Ranks, Views, dense, shared_by


def coupled(loss: LocalLoss, out: Out, block: Block, views: Views, group: Ranks) -> dict[str, Tensor]:
    """Return the terms of the loss of the global batch, with the gradient of this rank's rows.

    The gradient of a parameter of the loss itself needs no factor, since every rank computes it from all
    rows.
    """
    shared = _Shared(views, group)
    activity = shared.rows(out.activity)
    handoff = activity if out.handoff is out.activity else shared.rows(out.handoff)
    inputs = tuple(map(shared.rows, out.inputs)) if loss.reads_inputs else ()
    whole = Out(activity, handoff, None, inputs)
    whole.upstream = tuple(shared.rows(t) for t in out.upstream)
    seen = shared.views(whole.upstream)
    if out.goodness is not None and block.goodness is not None:
        if block.goodness.couples_samples:
            with shared_by(ALONE):
                whole.goodness = block.goodness(activity, seen)
        else:
            whole.goodness = shared.rows(out.goodness)
    with shared_by(ALONE):  # the rows are those of the global batch: their statistics need no other rank
        terms: dict[str, Tensor] = loss(whole, block, seen)
    return terms


def judged(goodness: Goodness, activity: Tensor, views: Views, group: Ranks) -> Tensor:
    """Return the goodness of this rank's rows, of one that reads the views.

    One that couples samples is computed from the rows of all ranks, without a graph: its loss couples them
    too, and computes it again.
    """
    if group.world == 1 or not goodness.couples_samples:
        own: Tensor = goodness(activity, views)
        return own
    with torch.no_grad():
        shared = _Shared(views, group)
        rows, seen = shared.rows(activity), shared.views(tuple(map(shared.rows, views.upstream)))
        with shared_by(ALONE):
            whole = goodness(rows, seen)
        # an idle rank has taken part; the goodness of its placeholder does not count
        return goodness(activity, views) if group.idle else shared.own(whole)


class _Shared:
    """The rows of a batch on all ranks.

    Args:
        views: the views of this rank.
        group: the ranks.
    """

    def __init__(self, views: Views, group: Ranks) -> None:
        self._views, self._group = views, group
        # as `BlockOptimizer` weights ranks: by samples, or by targets in a task by position
        weight = views.samples if views.targets is None else views.targets
        own = [0] * (1 + len(views.sizes)) if group.idle else [weight, *views.sizes]
        # the weight, and rows of each view, on each rank; exchanged once, and used for all tensors
        weights, *self._counts = zip(*group.objects(own), strict=True)
        self._sizes = tuple(sum(of_view) for of_view in self._counts)
        self._factor = sum(weights) / max(1, own[0])

    def rows(self, t: Tensor) -> Tensor:
        """Return the rows of all ranks, view by view; the own ones keep their graph."""
        views, own, factor = self._views, t, self._factor
        if t.requires_grad:
            own = t.view_as(t)  # a hook on t itself would also scale its other gradients
            own.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
        if len(t) != sum(views.sizes):  # one row per sample, not per row of the views
            return self._group.rows(own, self._counts[0])
        parts = zip(torch.split(own, list(views.sizes)), self._counts, strict=True)
        return torch.cat([self._group.rows(of_view, of_ranks) for of_view, of_ranks in parts])

    def own(self, t: Tensor) -> Tensor:
        """Return this rank's rows of those of all ranks."""
        rank = self._group.rank
        parts = zip(torch.split(t, list(self._sizes)), self._counts, strict=True)
        return torch.cat([of_view.narrow(0, sum(n[:rank]), n[rank]) for of_view, n in parts])

    def views(self, upstream: tuple[Tensor, ...]) -> Views:
        """Return the views of the global batch."""
        views = self._views
        return replace(
            views,
            x=self.rows(dense(views.x)),
            sizes=self._sizes,
            y=None if views.y is None else self.rows(views.y),
            hypothesis=None if views.hypothesis is None else self.rows(views.hypothesis),
            extra={
                name: self.rows(t) if len(t) in (views.samples, sum(views.sizes)) else t
                for name, t in views.extra.items()
            },
            upstream=list(upstream),
            rng=None,
        )
