"""Layer parallel training: every rank has some of the blocks and all of each batch, or of its share.

Each rank makes the batch and its views itself, with the same batch RNG. Of stages in sequence only handoffs
are sent, from each rank to the next, so that the ranks learn different batches at the same time. Blocks that
read nothing of each other (an independent circuit) send nothing. The blocks of other circuits take turns: see
`ffcore.ranks.turns`.

A rank that holds only its own blocks needs the memory of its device for these alone. The network is built on
the CPU, divided there, and then the rank's part moves to the device (with ``balance: measured`` all of it
moves, and is then divided). After training, and while a test runs, the other parts are in the memory of the
CPU.

    ranks hold their own blocks   before training   while it trains   after it          in a test
    this rank's blocks            CPU               device            CPU               device
    other blocks                  CPU               freed             CPU               CPU
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from ffcore.engine.distribution import Distribution
from ffcore.errors import RunError, UserError, everywhere
from ffcore.interfaces import Ranks, Views
from ffcore.local import LocalNetwork
from ffcore.local.alone import Apart, divisible, parts
from ffcore.local.route import Route
from ffcore.ranks.cut import balanced, chosen, counted, learning, ranges, segments
from ffcore.ranks.group import Group
from ffcore.ranks.holding import allocate, free, guarded, held
from ffcore.ranks.layout import Layout, forget, line_of_its_own
from ffcore.ranks.link import connected
from ffcore.ranks.local import average
from ffcore.ranks.span import Failed, Span
from ffcore.ranks.timed import timed
from ffcore.ranks.turns import TurnByTurn

Balance = Literal["counted", "measured"]
T = TypeVar("T")

_CPU = torch.device("cpu")


class Pipeline(Distribution):
    """The distribution of a pipeline: each rank has a contiguous range of stages; the last has the readouts.

    Args:
        layout: the groups of this rank.
        batch: samples of a full batch of a replica.
        balance: the cost by which the network is divided: counted multiplications or measured seconds.
        cut: names of the first blocks of all ranks but the first; empty to divide by ``balance``.
        own: whether each rank holds only its own blocks while it trains and measures. Passes that measure
            then go from rank to rank too.
        device: the device of this rank.
        timeout: seconds to wait for another rank.
        refuse: is called with the number of ranks before the network is divided; it raises a `UserError` if
            that cannot be. Trainers without a recipe have no earlier check.

    Attributes:
        own: whether this is so now: not before training or a test, and not after it.
        loads: the cost of each stage of ranks, in multiplications or seconds; set at the start of training,
            empty with ``cut``.
    """

    ranks: Group
    loads: Sequence[float] = ()

    def __init__(
        self,
        layout: Layout,
        batch: int,
        balance: Balance,
        cut: Sequence[str],
        own: bool = False,
        device: torch.device = _CPU,
        timeout: float = 1800.0,
        refuse: Callable[[int], None] = lambda ranks: None,
    ) -> None:
        self.layout, self.line = layout, layout.line
        self.ranks, self.learning = layout.every, layout.column
        self.batch = batch
        self.balance = balance
        self.cut = cut
        self.own = False
        self.timeout = timeout
        self._own, self._device, self._refuse = own, device, refuse
        self._network: LocalNetwork | None = None
        self._stages: Sequence[nn.Module] = ()
        self._owners: dict[str, int] = {}
        self._tensors: list[list[Tensor]] = []
        self._others: list[Tensor] = []
        self._begun = False

    @property
    def early(self) -> bool:
        """Whether `divide` comes before the network moves to the device: it needs no batch."""
        return self._own and (bool(self.cut) or self.balance == "counted")

    def begin(self, network: LocalNetwork, batches: Iterable[Views]) -> None:
        """Divide the network, unless `divide` has, and free what this rank does not learn."""
        if self._network is None:
            self.divide(network, batches)
        self._begun = True
        if isinstance(self.learning, Group):
            self.learning.connect(self.timeout)
        if self.own:
            free(self._others)
        for name, each in network.optimizers.blocks.items() if network.optimizers is not None else ():
            if not self.owns(name):
                each.optimizer.state.clear()  # another rank steps it: free its memory here

    def divide(self, network: LocalNetwork, batches: Iterable[Views] = ()) -> None:
        """Divide the network and connect this rank to its neighbours.

        Args:
            network: the network, with its plan.
            batches: the views of the training split; needed only to measure the cost of stages.

        Raises:
            RunError: an earlier training of the network has failed.
            UserError: the network cannot be divided.
        """
        ranks = self.line.world
        if isinstance(network.route, Failed):
            raise RunError(Failed.refusal)
        if ranks > 1:
            self._refuse(ranks)
        self._network = network
        self._stages = stages = parts(network) if ranks > 1 else network.stages
        if self.cut:
            starts = chosen(network, stages, self.cut, ranks)
        else:
            if self.balance == "counted":
                costs = counted(network, stages)
            else:
                costs = timed(network, stages, batches, self.ranks)
            first = segments(network, stages)
            learn = learning(network, stages, first)
            starts = [first[i] for i in balanced(_sums(costs, first), learn, ranks)]
            self.loads = _sums(costs, starts)
        self._assign(network, ranges(starts, len(stages)))

    def _assign(self, network: LocalNetwork, spans: Sequence[range]) -> None:
        rank, last = self.line.rank, self.line.world - 1
        rank_of = {
            part: r for r, span in enumerate(spans) for i in span for part in self._stages[i].modules()
        }
        self._owners = {name: rank_of.get(block, last) for name, block in network.learners.items()}
        self._tensors = [[] for _ in spans]
        used: list[set[int]] = [set() for _ in spans]  # blocks may share a buffer: the first rank sends it
        for r, span in enumerate(spans):
            own = [*(self._stages[i] for i in span), *([network.readout_blocks] if r == last else [])]
            for t in (t for part in own for t in (*part.parameters(), *part.buffers()) if t.numel()):
                if not any(id(t) in of_rank for of_rank in used):
                    self._tensors[r].append(t)
                used[r].add(id(t))
        network.follow(self._route(network, spans))
        self.own = self._own and not isinstance(network.route, Apart)
        if self.own:
            others = [(r, span) for r, span in enumerate(spans) if r != rank]
            mine = {part for i in spans[rank] for part in self._stages[i].modules()}
            self._guards = [g for r, span in others for i in span for g in guarded(self._stages[i], r, mine)]
            self._others = [t for r, _ in others for t in self._tensors[r] if id(t) not in used[rank]]

    def _route(self, network: LocalNetwork, spans: Sequence[range]) -> Route:
        mine = spans[self.line.rank]
        circuit = divisible(network) if self.line.world > 1 else None
        if circuit is None:
            links = connected(self.layout, self.batch, self._device, self.timeout)
            return Span(mine, *links, self._own, partial(_compare, self.line))
        if circuit.independent:
            return Apart([self._stages[i] for i in mine])
        blocks = [[self._stages[i] for i in span] for span in spans]
        line = line_of_its_own(self.layout, self.timeout)
        return TurnByTurn(blocks, line, self._device, self._own, partial(_compare, line))

    def abandon(self) -> None:
        """See `Distribution.abandon`. A network that has not learned stays as it was."""
        if (network := self._network) is None:
            return
        if isinstance(route := network.route, Span):
            route.abandon()
            forget(self.layout)
        elif isinstance(route, TurnByTurn):
            route.close()
        guards = self._whole()
        network.follow(Failed(guards) if self._begun else None)
        if not self._begun:
            for guard in guards:
                guard.remove()
        self._left()

    def end(self) -> None:
        """Finish all transfers; from now on every rank can run the whole network again."""
        if (network := self._network) is None:
            return
        route = network.route
        network.follow(None)
        if isinstance(route, TurnByTurn):
            self.line.objects(None)  # all have made their last exchange
        if isinstance(route, Span | TurnByTurn):
            route.close()
        for guard in self._whole():
            guard.remove()
        if self._begun:
            self.settle(network)  # the training may have ended within an epoch
        self._left()

    def end_unused(self) -> None:
        """End a division that no training has used: of a test, or of a training without a step."""
        if not self._begun:
            self.end()

    def _whole(self) -> Sequence[Any]:
        """Allocate the tensors that were freed; return the handles that refuse calls of their stages."""
        guards, self.own = (self._guards if self.own else ()), False
        allocate(self._others, self.home(self._device))
        return guards

    def _left(self) -> None:
        """Keep only who owns a block, for the states of optimisers; end the connections of sums."""
        if isinstance(self.learning, Group):
            self.learning.disconnect()
        self._network, self._begun, self._others = None, False, []
        self._tensors = [[] for _ in self._tensors]

    def home(self, device: torch.device) -> torch.device:
        """See `Distribution.home`."""
        return _CPU if self._own else device

    def applied(self, fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """See `Distribution.applied`: leaves tensors of other ranks as they are.

        Buffers stay the same objects, as parameters do, since the division refers to them.
        """
        if not self.own:
            return fn
        others = {id(t) for t in self._others}

        def apply(t: Tensor) -> Tensor:
            made = t if id(t) in others else fn(t)
            if made is t or isinstance(t, nn.Parameter):
                return made
            t.data = made
            return t

        return apply

    def owns(self, name: str) -> bool:
        """See `Distribution.owns`."""
        return self._owners.get(name, self.line.rank) == self.line.rank

    @property
    def measuring(self) -> Ranks:
        """See `Distribution.measuring`."""
        return self.learning if self.own else self.ranks

    @property
    def counts(self) -> bool:
        """See `Distribution.counts`: the last rank of a line gets all evidence."""
        return not self.own or self.line.rank == self.line.world - 1

    def measured(self, measure: Callable[[], T]) -> T | None:
        """See `Distribution.measured`."""
        if not self.own:
            return super().measured(measure)
        if self._network is None or self.learning.rank > 0:
            return None
        with self._network.joint():
            made = self.line.collected(measure())
        return made[-1] if made else None

    def buffers(self, module: nn.Module) -> dict[str, Tensor]:
        """Returns this rank's buffers of floating point, if they may differ between replicas."""
        if self.learning.world == 1 or not self._owners:
            return {}
        own = {id(t) for t in self._tensors[self.line.rank]}
        named = {name: b for name, b in module.named_buffers() if id(b) in own}
        return {name: b for name, b in named.items() if b.is_floating_point()}

    def settle(self, module: nn.Module) -> None:
        """Average running statistics over replicas. Broadcast the blocks of each stage to all others."""
        if not self._owners:
            return
        if isinstance(self.learning, Group):
            average(self.buffers(module).values(), self.learning)
        for rank, tensors in enumerate([] if self.own else self._tensors):
            self.line.share(tensors, rank)

    def placement(self) -> list[dict[str, Any]]:
        """See `Distribution.placement`."""
        total = sum(self.loads)
        every = [t for tensors in self._tensors for t in tensors]
        row = {
            "rank": self.ranks.rank,
            "blocks": [name for name in self._owners if self.owns(name)],
            "cost": self.loads[self.line.rank] / total if total else None,
            "parameters": held(every),
            "whole": sum(t.numel() * t.element_size() for t in every),
        }
        return self.ranks.objects(row)

    def whole_state(self, module: nn.Module) -> dict[str, Any]:
        """Returns the state of all blocks, in memory of the CPU on rank 0; on others that of some blocks."""
        state: dict[str, Any] = module.state_dict()
        if not self.own:
            return state
        stage_of = {id(t): r for r, tensors in enumerate(self._tensors) for t in tensors}
        named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for name, t in named.items() if self.learning.rank == 0 else ():
            stage = stage_of.get(id(t), 0)
            if name in state and stage:
                state[name] = self.line.moved(t, stage)
        return state

    def optimizers(self, mine: dict[str, Any]) -> dict[str, Any]:
        """Returns the optimiser states of all blocks on rank 0, each from the rank that steps it."""
        by_rank = self.line.collected({name: state for name, state in mine.items() if self.owns(name)})
        if not by_rank:
            return mine
        return {name: by_rank[self._owners.get(name, 0)].get(name, state) for name, state in mine.items()}


def _sums(costs: Sequence[float], starts: Sequence[int]) -> list[float]:
    return [sum(costs[i] for i in part) for part in ranges(starts, len(costs))]


def _compare(line: Group, views: Views) -> None:
    """Compare the first batch with those of the other ranks of a line.

    Raises:
        UserError: they differ; raised on all ranks.
    """
    first = (views.samples, None if views.y is None else hash(tuple(views.y.flatten().tolist())))
    if any(other != first for other in line.objects(first)):
        raise everywhere(
            UserError(
                "the ranks of a pipeline have got different batches: each of them needs all samples of a "
                "batch, in the same order (a DistributedSampler needs rank 0 of 1)"
            )
        )
