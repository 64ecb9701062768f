"""Losses that couple the samples of a batch, on ranks that each hold a share of it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ffcore.interfaces import Block, LocalLoss, Out, Ranks, Views, dense


def coupled(loss: LocalLoss, out: Out, block: Block, views: Views, group: Ranks) -> dict[str, Tensor]:
    """The terms of a loss of the whole batch, with the gradient that this rank's rows have in it.

    Every rank works the loss out for all rows. The gradient of its own n rows of N in all is N/n of what the
    loss says, because what comes of it is weighted by n/N when gradients are summed; parameters of the loss
    itself see all rows everywhere, so that theirs is as it is.
    """
    mine = [0 if group.idle else size for size in views.sizes]
    counts = list(zip(*group.objects(mine), strict=True))  # of each view by rank, asked once for all tensors
    sizes = [sum(of_view) for of_view in counts]
    factor = sizes[0] / views.samples

    def rows(t: Tensor) -> Tensor:
        own = t
        if t.requires_grad:
            own = t.view_as(t)
            own.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
        if len(t) != sum(views.sizes):  # of samples, not of views
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
