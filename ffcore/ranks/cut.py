"""Divides a network into contiguous ranges of stages, one per rank, for a pipeline.

The stages are those of the network, or the blocks of a circuit; see `ffcore.local.alone`.

`balanced` minimises the largest cost of a rank, by dynamic programming over the segments:
best[r][j] = min over i < j of max(best[r − 1][i], cost of segments i … j − 1), O(ranks · segments²).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from ffcore.blame import title
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError
from ffcore.interfaces import Progress, Schedule, Turn, Turns, Views
from ffcore.interfaces.modes import evaluating
from ffcore.local import LocalNetwork, Pass
from ffcore.local.alone import divisible, parts
from ffcore.local.operations import OperationCounter

T = TypeVar("T")


def balanced(costs: Sequence[float], learns: Sequence[bool], ranks: int) -> list[int]:
    """Returns the first segment of each rank such that the largest cost of a rank is minimal.

    Args:
        costs: the cost of each segment; segments are not divided.
        learns: whether a segment has a block that learns; every rank gets at least one such segment.
        ranks: number of ranks.

    >>> balanced([1, 1, 1, 3], [True] * 4, 2)
    [0, 3]

    Raises:
        ValueError: a rank would have no block that learns.
    """
    if sum(learns) < ranks:
        raise ValueError(f"{sum(learns)} parts that learn for {ranks} ranks")
    total = [0.0, *accumulate(costs)]
    count = [0, *accumulate(map(int, learns))]
    # best[r][j]: the least possible maximum for segments 0 … j − 1 on r ranks, and the first segment of rank
    # r
    best: list[list[tuple[float, int] | None]] = [[None] * (len(costs) + 1) for _ in range(ranks + 1)]
    best[0][0] = (0.0, 0)
    for rank in range(1, ranks + 1):
        for stop in range(1, len(costs) + 1):
            candidates = [
                (max(before[0], total[stop] - total[start]), start)
                for start in range(stop)
                if (before := best[rank - 1][start]) is not None and count[stop] > count[start]
            ]
            best[rank][stop] = min(candidates) if candidates else None
    # Follow the chosen starts back from the last rank.
    starts, stop = [], len(costs)
    for rank in range(ranks, 0, -1):
        here = best[rank][stop]
        assert here is not None
        stop = here[1]
        starts.append(stop)
    return starts[::-1]


def ranges(starts: Sequence[int], stop: int) -> list[range]:
    """Returns the ranges from each start to the next one; the last ends at ``stop``.

    >>> ranges([0, 2], 5)
    [range(0, 2), range(2, 5)]
    """
    return [range(a, b) for a, b in pairwise([*starts, stop])]


def segments(network: LocalNetwork, stages: Sequence[nn.Module]) -> list[int]:
    """Returns the first stage of each segment: blocks that share a window cannot be on different ranks."""
    windows: list[set[int]] = [
        {place.window for part in stage.modules() if (place := network.place(part)) is not None}
        for stage in stages
    ]
    starts = [0]
    for boundary in range(1, len(windows)):
        before = set[int]().union(*windows[:boundary])
        after = set[int]().union(*windows[boundary:])
        if not before & after and after:
            starts.append(boundary)
    return starts


def learning(network: LocalNetwork, stages: Sequence[nn.Module], starts: Sequence[int]) -> list[bool]:
    """Returns for each segment whether it has a block that learns."""
    return [
        any(network.place(part) is not None for i in segment for part in stages[i].modules())
        for segment in ranges(starts, len(stages))
    ]


def counted(network: LocalNetwork, stages: Sequence[nn.Module]) -> list[float]:
    """Returns the multiplications of each stage for one sample in a forward pass.

    Learning takes more by the same factor in every stage, so that the balance is the same.
    """
    like = next(network.parameters())
    x = torch.zeros(2, *network.shape, dtype=like.dtype, device=like.device)
    views = Views(
        x=x, roles=("count",), sizes=(2,), hypothesis=torch.zeros(2, dtype=torch.int64, device=x.device)
    )
    costs = []
    here = Pass(views)
    if (circuit := divisible(network)) is not None and circuit.takes_turns:
        circuit.turns = turns = _Counting()
        try:
            with evaluating(network), torch.no_grad():
                Pass(replace(views, learns=True)).run(network.stages, x)
        finally:
            del circuit.turns
        return [turns.products[stage] / 2 for stage in stages]
    with evaluating(network), torch.no_grad():
        for stage in stages:
            with OperationCounter() as operations:
                x = here.run([stage], x)
            costs.append(operations.multiplications / 2)  # of two samples
    return costs


class _Counting(Turns):
    """Counts the multiplications of each block's turns."""

    def __init__(self) -> None:
        self.products = Counter[nn.Module]()

    def shared(self, *turns: Turn) -> list[Tensor]:
        return [self._counted(*turn) for turn in turns]

    def own(self, block: nn.Module, function: Callable[[], T]) -> T | None:
        return self._counted(block, function)

    def _counted(self, block: nn.Module, function: Callable[[], T]) -> T:
        with OperationCounter() as operations:
            made = function()
        self.products[block] += operations.multiplications
        return made


def chosen(network: LocalNetwork, stages: Sequence[nn.Module], names: Sequence[str], ranks: int) -> list[int]:
    """Returns the first stage of each rank for ``trainer.cut``: the first blocks of all ranks but the first.

    Raises:
        UserError: a block does not exist or cannot be first on a rank, or a rank has no block that learns.
    """
    if len(names) != ranks - 1:
        raise UserError(
            f"trainer.cut: {len(names)} names for {ranks} ranks; give one for each rank but the first"
        )
    known = {block.name: block for block in network.blocks}
    parts, starts = segments(network, stages), [0]
    for name in names:
        if name not in known:
            raise UserError(f"trainer.cut: there is no block {name!r}; there are {', '.join(known)}")
        stage = next(i for i, s in enumerate(stages) if known[name] in set(s.modules()))
        if stage not in parts:
            raise UserError(
                f"trainer.cut: a rank cannot begin with block {name!r}: it learns together with earlier ones"
            )
        if stage <= starts[-1]:
            raise UserError(f"trainer.cut: {', '.join(names)}: should be in the order of the network")
        starts.append(stage)
    for rank, learns in enumerate(learning(network, stages, starts)):
        if not learns:
            raise UserError(f"trainer.cut: rank {rank} would have no block that learns")
    return starts


def check_divisible(
    module: ForwardOnly, ranks: int, epochs: int, where: str, fewer: str, cut: Sequence[str] = ()
) -> None:
    """Check that a network can be divided, and learn so.

    Args:
        module: the module with the network.
        ranks: number of ranks that it would be divided among.
        epochs: number of epochs.
        where: begins the message.
        fewer: names what sets the number of ranks.
        cut: names of the first blocks of all ranks but the first; empty: any.

    Raises:
        UserError: it cannot; the message gives the reason.
    """
    network, algorithm = module.network, module.algorithm
    stages = parts(network)
    if network.circuits:
        if divisible(network) is None:
            raise UserError(
                f"{where}: the circuit does not take turns (Circuit.takes_turns), or is beside other "
                "stages; use ff_local"
            )
        if tuple(network.readouts):
            raise UserError(f"{where}: readouts read all blocks of the circuit; use ff_local")
    if algorithm.whole_network:
        raise UserError(f"{where}: {title(algorithm)}: {algorithm.whole_network}; use ff_local")
    if not steady(module.schedule, epochs, len(network.learning)):
        raise UserError(f"{where}: with this schedule blocks learn at different times; use ff_local")
    if cut:
        chosen(network, stages, cut, ranks)
        return
    learn = sum(learning(network, stages, segments(network, stages)))
    if learn < ranks:
        raise UserError(
            f"{where}: {ranks} ranks, but the network has {learn} part{'s' * (learn != 1)} that learn "
            f"separately; set {fewer} to fewer, or use ff_local"
        )


def steady(schedule: Schedule, epochs: int, blocks: int) -> bool:
    """Returns whether all blocks learn in every batch, in the same windows."""
    if schedule.adaptive:
        return False
    moments = [Progress(epoch, step, epochs) for epoch in range(epochs) for step in (0, 1)]
    plans = {schedule.windows(progress, blocks) for progress in moments}
    return len(plans) == 1 and sum(map(len, plans.pop())) == blocks
