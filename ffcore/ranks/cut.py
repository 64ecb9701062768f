"""Where a network is cut into contiguous groups of stages, one a rank."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch.utils.flop_counter import FlopCounterMode

from ffcore.errors import UserError
from ffcore.interfaces import Views
from ffcore.local import LocalNetwork, Pass
from ffcore.local.modes import evaluating


def balanced(costs: Sequence[float], learns: Sequence[bool], ranks: int) -> list[int]:
    """The first segment of each rank, so that the most expensive rank is as cheap as can be.

    Args:
        costs: of each segment; segments are not divided.
        learns: whether there is anything to learn in it; every rank gets such a one.
        ranks: how many.

    >>> balanced([1, 1, 1, 3], [True] * 4, 2)
    [0, 3]

    Raises:
        ValueError: when a rank would have nothing to learn.
    """
    if sum(learns) < ranks:
        raise ValueError(f"{sum(learns)} parts that learn for {ranks} ranks")
    total = [0.0, *accumulate(costs)]
    count = [0, *accumulate(map(int, learns))]
    # best[j]: the least possible maximum over the first segments up to j, and where its last group begins
    best: list[list[tuple[float, int] | None]] = [[None] * (len(costs) + 1) for _ in range(ranks + 1)]
    best[0][0] = (0.0, 0)
    for rank in range(1, ranks + 1):
        for stop in range(1, len(costs) + 1):
            found = [
                (max(before[0], total[stop] - total[start]), start)
                for start in range(stop)
                if (before := best[rank - 1][start]) is not None and count[stop] > count[start]
            ]
            best[rank][stop] = min(found) if found else None
    starts, stop = [], len(costs)
    for rank in range(ranks, 0, -1):
        here = best[rank][stop]
        assert here is not None
        stop = here[1]
        starts.append(stop)
    return starts[::-1]


def ranges(starts: Sequence[int], stop: int) -> list[range]:
    """From each start to the next; the last one goes to ``stop``.

    >>> ranges([0, 2], 5)
    [range(0, 2), range(2, 5)]
    """
    return [range(a, b) for a, b in pairwise([*starts, stop])]


def segments(network: LocalNetwork) -> list[int]:
    """The first stage of each part that cannot be divided: what shares a window stays together."""
    windows: list[set[int]] = [
        {place.window for part in stage.modules() if (place := network.place(part)) is not None}
        for stage in network.stages
    ]
    starts = [0]
    for boundary in range(1, len(windows)):
        before = set[int]().union(*windows[:boundary])
        after = set[int]().union(*windows[boundary:])
        if not before & after and after:
            starts.append(boundary)
    return starts


def learning(network: LocalNetwork, starts: Sequence[int]) -> list[bool]:
    """For each part, whether a block learns in it."""
    return [
        any(network.place(part) is not None for i in stages for part in network.stages[i].modules())
        for stages in ranges(starts, len(network.stages))
    ]


def counted(network: LocalNetwork) -> list[float]:
    """Multiplications of each stage for a sample, a forward pass; learning takes twice as many everywhere."""
    like = next(network.parameters())
    x = torch.zeros(2, *network.shape, dtype=like.dtype, device=like.device)
    views = Views(x=x, roles=("count",), sizes=(2,))
    costs = []
    here = Pass(views)
    with evaluating(network), torch.no_grad():
        for stage in network.stages:
            with FlopCounterMode(display=False) as counter:
                x = here.run([stage], x)
            costs.append(counter.get_total_flops() / 4)
    return costs


def chosen(network: LocalNetwork, names: Sequence[str], ranks: int) -> list[int]:
    """The first stage of each rank, by the names of the blocks that ranks after the first begin with.

    Raises:
        UserError: when there is no such block, one cannot begin a rank, or a rank has nothing to learn.
    """
    if len(names) != ranks - 1:
        raise UserError(f"trainer.cut: {len(names)} names for {ranks} ranks; give one for each but the first")
    known = {block.name: block for block in network.blocks}
    parts, starts = segments(network), [0]
    for name in names:
        if name not in known:
            raise UserError(f"trainer.cut: there is no block {name!r}; there are {', '.join(known)}")
        stage = next(i for i, s in enumerate(network.stages) if known[name] in set(s.modules()))
        if stage not in parts:
            raise UserError(
                f"trainer.cut: no rank can begin with block {name!r}: others learn together with it"
            )
        if stage <= starts[-1]:
            raise UserError(f"trainer.cut: {', '.join(names)}: should be in the order of the network")
        starts.append(stage)
    for rank, learns in enumerate(learning(network, starts)):
        if not learns:
            raise UserError(f"trainer.cut: rank {rank} would be left without a block that learns")
    return starts
