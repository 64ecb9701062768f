"""Layer parallel training: every rank has some of the blocks and all of each batch, or of its share.

Each rank makes the batch and its views itself, with the same batch RNG. Of stages in sequence only handoffs
are sent, from each rank to the next, so that the ranks learn different batches at the same time. Blocks that
read nothing of each other (an independent circuit) send nothing. The blocks of other circuits take turns: see
`ffcore.ranks.turns`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar, cast

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from ffcore.engine.distribution import Distribution
from ffcore.engine.module import ForwardOnly
from ffcore.errors import RunError, UserError, everywhere
from ffcore.interfaces import Ranks, Views
from ffcore.local import LocalNetwork
from ffcore.local.alone import Apart, divisible, parts
from ffcore.local.route import Route
from ffcore.ranks.cut import balanced, check_divisible, chosen, counted, learning, ranges, segments
from ffcore.ranks.group import Group
from ffcore.ranks.holding import allocate, free, guarded, held
from ffcore.ranks.layout import Layout, layout, line_of_its_own
from ffcore.ranks.link import connected
from ffcore.ranks.local import LocalDDP, average
from ffcore.ranks.span import Failed, Span
from ffcore.ranks.timed import timed
from ffcore.ranks.turns import TurnByTurn
from ffcore.ranks.where import world
from ffcore.ranks.whole import needs_whole
from ffcore.recipe.options import values_of
from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import Spec

Balance = Literal["counted", "measured"]
Hold = Literal["own", "all"]
T = TypeVar("T")


class Pipeline(Distribution):
    """The distribution of a pipeline: each rank has a contiguous range of stages; the last has the readouts.

    Args:
        layout: the groups of this rank.
        batch: samples of a full batch of a replica.
        balance: the cost by which the network is divided: counted multiplications or measured seconds.
        cut: names of the first blocks of all ranks but the first; empty to divide by ``balance``.
        own: whether each rank holds only its own blocks while it trains and validates. Passes that measure
            then go from rank to rank too.
        timeout: seconds to wait for another rank.
        refuse: is called with the number of ranks before the network is divided; it raises a `UserError` if
            that cannot be. Trainers without a recipe have no earlier check.

    Attributes:
        own: whether this is so now: not before training, and not after it.
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
        self._own, self._refuse = own, refuse
        self._network: LocalNetwork | None = None
        self._stages: Sequence[nn.Module] = ()
        self._owners: dict[str, int] = {}

    def begin(self, network: LocalNetwork, batches: Iterable[Views]) -> None:
        """Divide the network and connect this rank to its neighbours.

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
        self._tensors: list[list[Tensor]] = [[] for _ in spans]
        used: list[set[int]] = [set() for _ in spans]  # blocks may share a buffer: the first rank sends it
        for r, span in enumerate(spans):
            own = [*(self._stages[i] for i in span), *([network.readout_blocks] if r == last else [])]
            for t in (t for part in own for t in (*part.parameters(), *part.buffers()) if t.numel()):
                if not any(id(t) in of_rank for of_rank in used):
                    self._tensors[r].append(t)
                used[r].add(id(t))
        self._device = next(network.parameters()).device
        network.follow(self._route(network, spans))
        self.own = self._own and not isinstance(network.route, Apart)
        for name, each in network.optimizers.blocks.items() if network.optimizers is not None else ():
            if not self.owns(name):
                each.optimizer.state.clear()  # another rank steps it: free its memory here
        if self.own:
            others = [(r, span) for r, span in enumerate(spans) if r != rank]
            mine = {part for i in spans[rank] for part in self._stages[i].modules()}
            self._guards = [g for r, span in others for i in span for g in guarded(self._stages[i], r, mine)]
            free(t for r, _ in others for t in self._tensors[r] if id(t) not in used[rank])

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
        """See `Distribution.abandon`."""
        if self._network is not None and self._network.route is not None:
            route = self._network.route
            if isinstance(route, Span):
                route.abandon()
            elif isinstance(route, TurnByTurn):
                route.close()
            for tensors in self._tensors if self.own else ():
                allocate(tensors, self._device)
            self._network.follow(Failed(self._guards if self.own else ()))
            self.own = False

    def end(self) -> None:
        """Finish all transfers; from now on every rank can run the whole network again."""
        if self._network is not None:
            route = self._network.route
            self._network.follow(None)
            if isinstance(route, TurnByTurn):
                self.line.objects(None)  # all have made their last exchange
            if isinstance(route, Span | TurnByTurn):
                route.close()
            if self.own:
                self.own = False
                for guard in self._guards:
                    guard.remove()
                for tensors in self._tensors:
                    allocate(tensors, self._device)
            self.settle(self._network)  # the training may have ended within an epoch

    def owns(self, name: str) -> bool:
        """See `Distribution.owns`."""
        return self._owners.get(name, self.line.rank) == self.line.rank

    @property
    def measuring(self) -> Ranks:
        """See `Distribution.measuring`."""
        return self.learning if self.own else self.ranks

    @property
    def incomplete(self) -> bool:
        """See `Distribution.incomplete`."""
        return self.own

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


class PipelineStrategy(LocalDDP):
    """Lightning's strategy for a pipeline: each process has some of the blocks.

    Args:
        batch: samples of a full batch.
        balance: see `Pipeline`.
        cut: see `Pipeline`.
        timeout: seconds after which waiting for another rank is an error.
        hold: "own": each rank holds only its own blocks while it trains and validates, unless something uses
            the whole network between batches; see `ffcore.ranks.whole`. "all": every rank holds all blocks.
        sync_batchnorm: see `LocalDDP`; for replicas.
    """

    strategy_name = "ff_pipeline"
    fewer: ClassVar[str] = "trainer.devices"
    """The entry of a recipe with the number of ranks that the network is divided among."""

    def __init__(
        self,
        batch: int,
        balance: Balance = "counted",
        cut: Sequence[str] = (),
        timeout: float = 1800.0,
        hold: Hold = "own",
        sync_batchnorm: bool = True,
    ) -> None:
        super().__init__(timeout, sync_batchnorm)
        self._batch, self._balance, self._cut, self._hold = batch, balance, cut, hold
        self._waits = timeout
        self._stages: int | None = None  # all ranks

    @classmethod
    def of(cls, recipe: Recipe) -> LocalDDP:
        """See `LocalDDP.of`."""
        config = recipe.trainer
        spec = config.strategy
        options = values_of(spec.options) if isinstance(spec, Spec) else {}
        return cls(
            batch=recipe.data.batch_size,
            balance=config.balance,
            cut=config.cut or (),
            timeout=config.timeout,
            sync_batchnorm=config.sync_batchnorm,
            **options,
        )

    @classmethod
    def stages(cls, recipe: Recipe) -> int:
        """Returns the number of ranks that the network is divided among."""
        return world(recipe.trainer)

    @classmethod
    def replicas(cls, recipe: Recipe) -> int:
        """See `LocalDDP.replicas`."""
        return world(recipe.trainer) // cls.stages(recipe)

    @classmethod
    def refuse(cls, module: ForwardOnly, recipe: Recipe) -> None:
        """Check that the network can be divided.

        Raises:
            UserError: it cannot; the message gives the reason.
        """
        config, where = recipe.trainer, f"trainer.strategy: {cls.strategy_name}"
        check_divisible(module, cls.stages(recipe), config.max_epochs, where, cls.fewer, config.cut or ())

    def distribution(self) -> Distribution:
        """See `LocalDDP.distribution`."""
        made = layout(self._stages or Group().world, self.root_device)
        replicas = made.every.world // made.line.world
        module = self.lightning_module
        assert isinstance(module, ForwardOnly)
        own = self.holds_own(module.trainer)
        share, refuse = -(-self._batch // replicas), partial(self._refuse, module)
        return Pipeline(made, share, self._balance, self._cut, own, self._waits, refuse)

    def _refuse(self, module: ForwardOnly, ranks: int) -> None:
        epochs = max(1, module.epochs or module.trainer.max_epochs or 1)
        where, fewer = type(self).__name__, self.fewer.rpartition(".")[2]
        try:
            check_divisible(module, ranks, epochs, where, fewer, self._cut)
        except UserError as error:
            everywhere(error)  # all ranks have the same network
            raise

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """The share of each batch for samplers that Lightning adds to a loader of the user."""
        stages = self._stages or self.world_size
        return {"num_replicas": self.world_size // stages, "rank": self.global_rank // stages}

    def holds_own(self, trainer: Trainer, module: LightningModule | None = None) -> bool:
        """Returns whether each rank holds only its own blocks, and measures with the others of its line.

        All ranks call this. They agree, since callbacks may differ between ranks.
        """
        module = module or self.lightning_module
        assert isinstance(module, ForwardOnly)
        own = self._hold == "own" and needs_whole(module, cast(Any, trainer).callbacks) is None
        return all(Group().objects(own))

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Returns the state of all blocks, as in a run of one process."""
        module = self.lightning_module
        assert isinstance(module, ForwardOnly)
        assert isinstance(module.distribution, Pipeline)
        module.distribution.settle(module)
        return module.distribution.whole_state(module)

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Returns the optimiser states of all blocks, as in a run of one process."""
        state: dict[str, Any] = super().optimizer_state(optimizer)
        module = self.lightning_module
        assert isinstance(module, ForwardOnly)
        assert isinstance(module.distribution, Pipeline)
        return {**state, "blocks": module.distribution.optimizers(state["blocks"])}
