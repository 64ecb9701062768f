"""Losses that couple the samples of a batch, when several ranks share the batch.

Every rank computes the loss L of the global batch. With n rows of N on this rank:

    gradient used here = N/n · dL/d(own rows)

`BlockOptimizer` weights each rank's gradient by n/N in the sum over ranks, and the factors cancel.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ffcore.interfaces import Block, LocalLoss, Out, Ranks, Views, dense


def coupled(loss: LocalLoss, out: Out, block: Block, views: Views, group: Ranks) -> dict[str, Tensor]:
    """Return the terms of the loss of the global batch, with the gradient of this rank's rows.

    The gradient of a parameter of the loss itself needs no factor, since every rank computes it from all
    rows.
    """
    own_sizes = [0 if group.idle else size for size in views.sizes]
    # rows of each view on each rank; exchanged once, and used for all tensors below
    counts = list(zip(*group.objects(own_sizes), strict=True))
    sizes = [sum(of_view) for of_view in counts]
    factor = sizes[0] / views.samples

    def rows(t: Tensor) -> Tensor:
        own = t
        if t.requires_grad:
            own = t.view_as(t)  # a hook on t itself would also scale its other gradients
            own.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
        if len(t) != sum(views.sizes):  # one row per sample, not per row of the views
            return group.rows(own, counts[0])
        parts = zip(torch.split(own, list(views.sizes)), counts, strict=True)
        return torch.cat([group.rows(of_view, of_ranks) for of_view, of_ranks in parts])

    goodness = None if out.goodness is None else rows(out.goodness)
    shared = out.handoff is out.activity
    activity = rows(out.activity)
    whole = Out(activity, activity if shared else rows(out.handoff), goodness)
    whole.upstream = tuple(rows(t) for t in out.upstream)
    seen = replace(
        views,
        x=rows(dense(views.x)),
        sizes=tuple(sizes),
        y=None if views.y is None else rows(views.y),
        hypothesis=None if views.hypothesis is None else rows(views.hypothesis),
        extra={
            name: rows(t) if len(t) in (views.samples, sum(views.sizes)) else t
            for name, t in views.extra.items()
        },
        upstream=list(whole.upstream),
        rng=None,
    )
    terms: dict[str, Tensor] = loss(whole, block, seen)
    return terms
