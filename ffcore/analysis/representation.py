"""Measures of the activity of every block in a neutral pass, and how alike any two of them are.

The formulas are those of `ffcore.analysis.measures`. All values of a sample are one row, so that an image of
C channels has C · H · W units. Of each block a matrix (N, N) is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from ffcore.analysis import measures
from ffcore.errors import UserError
from ffcore.interfaces import Block, Out, Views, dense
from ffcore.interfaces.modes import evaluating
from ffcore.interfaces.structure import mapped, rows
from ffcore.network import Network
from ffcore.report.analysis_record import BlockMeasures

INPUT = "input"
_NUMBERS = 100_000_000
"""Values of activities that are held at a time: 400 MB in float32."""


def measured_blocks(net: Network) -> list[str]:
    """Return the names of the blocks that are measured: all but those that stand beside the others."""
    return [block.name for block in net.blocks if block.info is None or not block.info.auxiliary]


def representation(
    net: Network,
    x: Any,
    *,
    at_once: int,
    mixed: Callable[[], AbstractContextManager[Any]],
    tell: Callable[[str], object] = lambda what: None,
) -> tuple[list[BlockMeasures], dict[str, Tensor]]:
    """Return the measures of the input and of every block, and their U-centred matrices of length 1, (N, N).

    Blocks that do not run in a neutral pass, or with another number of rows, are left out. The input is left
    out if it is not one tensor of floats.

    Args:
        net: the network.
        x: N samples, as the network gets them.
        at_once: samples of a batch.
        mixed: makes the context of the network's precision.
        tell: called with the name of what is measured next.
    """
    made: list[BlockMeasures] = []
    grams: dict[str, Tensor] = {}

    def add(name: str, activity: Tensor) -> None:
        tell(name)
        measured, gram = _measured(name, activity)
        made.append(measured)
        grams[name] = gram

    if isinstance(x, Tensor) and x.is_floating_point():
        add(INPUT, x.flatten(1).float().cpu())
    some = next(_batches(x, 2))
    tried = _pass(net, some, mixed, measured_blocks(net))
    sizes = {name: each.shape[1] for name, each in tried.items() if len(each) == rows(some)}
    for names in _groups(sizes, _NUMBERS // rows(x)):
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        for batch in _batches(x, at_once):
            for name, activity in _pass(net, batch, mixed, names).items():
                parts[name].append(activity)
        for name in names:
            add(name, torch.cat(parts.pop(name)))
    return made, grams


def similarities(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> list[list[float]]:
    """Return the unbiased linear CKA of every activity of ``a`` with every one of ``b``.

    Args:
        a: matrices from `representation`.
        b: those of the same samples.
    """
    return [[measures.aligned(first, second) for second in b.values()] for first in a.values()]


def _measured(name: str, activity: Tensor) -> tuple[BlockMeasures, Tensor]:
    if not bool(activity.isfinite().all()):
        raise UserError(f"block {name}: its activity is not finite")
    gram = measures.gram(activity)
    squares = measures.squares(activity, gram)
    made = BlockMeasures(
        name=name,
        features=activity.shape[1],
        population_sparsity=defined(measures.population_sparsity(activity)),
        lifetime_sparsity=defined(measures.lifetime_sparsity(activity)),
        zeros=measures.zero_share(activity),
        dead=measures.dead_share(activity),
        effective_rank=defined(measures.rank_of(squares)),
        participation_ratio=defined(measures.ratio_of(squares)),
    )
    return made, measures.unit(measures.u_centred(gram))


@torch.no_grad()
def _pass(
    net: Network, x: Any, mixed: Callable[[], AbstractContextManager[Any]], names: Sequence[str]
) -> dict[str, Tensor]:
    """Return the activities (N, D) of some blocks in one neutral pass; of several calls the last."""
    seen: dict[str, Tensor] = {}

    def watch(block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views) -> None:
        if block.name in names:
            activity = dense(out.activity)
            activity = torch.view_as_real(activity) if activity.is_complex() else activity
            seen[block.name] = activity.float().flatten(1).cpu()

    with evaluating(net), mixed():
        net.local.observe(net.algorithm.neutral(x), watch)
    return seen


def _batches(x: Any, at_once: int) -> Iterator[Any]:
    for first in range(0, rows(x), at_once):
        yield mapped(x, itemgetter(slice(first, first + at_once)))


def _groups(sizes: Mapping[str, int], most: int) -> Iterator[list[str]]:
    """Yield groups of names, in order, of at most ``most`` values a sample, or of a single name."""
    group: list[str] = []
    for name, size in sizes.items():
        if group and sum(sizes[each] for each in group) + size > most:
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def defined(value: float) -> float | None:
    """Return a measure, or None if it is not defined."""
    return value if math.isfinite(value) else None
