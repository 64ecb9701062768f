"""Layer parallel training: every rank has some of the blocks and all of each batch, or of its share.

Each rank makes the batch and its views itself, with the same batch RNG. Only handoffs are sent, from each
rank to the next; no gradients are sent back. The ranks learn different batches at the same time. Blocks that
read nothing of each other (an independent circuit) send nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from ffcore.engine.distribution import Distribution
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError
from ffcore.interfaces import Progress, Schedule, Views
from ffcore.local import LocalNetwork
from ffcore.local.alone import Alone, Apart, parts
from ffcore.ranks.cut import balanced, chosen, counted, learning, ranges, segments
from ffcore.ranks.group import Group
from ffcore.ranks.layout import Layout, layout
from ffcore.ranks.link import Incoming, Outgoing
from ffcore.ranks.local import LocalDDP
from ffcore.ranks.span import Span
from ffcore.ranks.timed import timed
from ffcore.ranks.where import world
from ffcore.recipe.schema import Recipe

Balance = Literal["counted", "measured"]


class Pipeline(Distribution):
    """The distribution of a pipeline: each rank has a contiguous range of stages; the last has the readouts.

    Args:
        layout: the groups of this rank.
        batch: samples of a full batch of a replica.
        balance: the cost by which the network is divided: counted multiplications or measured seconds.
        cut: names of the first blocks of all ranks but the first; empty to divide by ``balance``.

    Attributes:
        loads: the cost of each stage of ranks, in multiplications or seconds; set at the start of training,
            empty with ``cut``.
    """

    ranks: Group
    loads: Sequence[float] = ()

    def __init__(self, layout: Layout, batch: int, balance: Balance, cut: Sequence[str]) -> None:
        self.layout, self.line = layout, layout.line
        self.ranks, self.learning = layout.every, layout.column
        self.batch = batch
        self.balance = balance
        self.cut = cut
        self._network: LocalNetwork | None = None
        self._stages: Sequence[nn.Module] = ()
        self._owners: dict[str, int] = {}

    def begin(self, network: LocalNetwork, batches: Iterable[Views]) -> None:
        """Divide the network and connect this rank to its neighbours."""
        ranks = self.line.world
        self._network = network
        self._stages = stages = parts(network)
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
        for r, span in enumerate(spans):
            own = [*(self._stages[i] for i in span), *([network.readout_blocks] if r == last else [])]
            for part in own:
                self._tensors[r] += [t.data for t in (*part.parameters(), *part.buffers()) if t.numel()]
        if network.circuits:
            network.route = Apart([self._stages[i] for i in spans[rank]])
        else:
            before, after, device = self.layout.before, self.layout.after, next(network.parameters()).device
            network.route = Span(
                spans[rank],
                None if before is None else Incoming(before, self.batch, device),
                None if after is None else Outgoing(after, self.batch, device),
            )
        for name, each in network.optimizers.blocks.items() if network.optimizers is not None else ():
            if not self.owns(name):
                each.optimizer.state.clear()  # another rank steps it: free its memory here

    def end(self) -> None:
        """Finish all transfers; from now on every rank can run the whole network again."""
        if self._network is not None:
            route, self._network.route = self._network.route, None
            if isinstance(route, Span):
                route.close()

    def owns(self, name: str) -> bool:
        """See `Distribution.owns`."""
        return self._owners.get(name, self.line.rank) == self.line.rank

    def settle(self, module: nn.Module) -> None:
        """Broadcast the blocks of each stage to all others."""
        if self._owners:
            for rank, tensors in enumerate(self._tensors):
                self.line.share(tensors, rank)

    def optimizers(self, mine: dict[str, Any]) -> dict[str, Any]:
        """Returns the optimiser states of all blocks, each from the rank that steps it."""
        by_rank = self.line.objects({name: state for name, state in mine.items() if self.owns(name)})
        return {name: by_rank[self._owners.get(name, 0)].get(name, state) for name, state in mine.items()}


def _sums(costs: Sequence[float], starts: Sequence[int]) -> list[float]:
    return [sum(costs[i] for i in part) for part in ranges(starts, len(costs))]


class PipelineStrategy(LocalDDP):
    """Lightning's strategy for a pipeline: each process has some of the blocks.

    Args:
        batch: samples of a full batch.
        balance: see `Pipeline`.
        cut: see `Pipeline`.
        timeout: seconds after which waiting for another rank is an error.
    """

    strategy_name = "ff_pipeline"
    fewer: ClassVar[str] = "trainer.devices"
    """The entry of a recipe with the number of ranks that the network is divided among."""

    def __init__(
        self, batch: int, balance: Balance = "counted", cut: Sequence[str] = (), timeout: float = 1800.0
    ) -> None:
        super().__init__(timeout)
        self._batch, self._balance, self._cut = batch, balance, cut
        self._stages: int | None = None  # all ranks

    @classmethod
    def of(cls, recipe: Recipe) -> LocalDDP:
        """See `LocalDDP.of`."""
        config = recipe.trainer
        return cls(recipe.data.batch_size, config.balance, config.cut or (), config.timeout)

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
        network, config = module.network, recipe.trainer
        ranks = cls.stages(recipe)
        where = f"trainer.strategy: {cls.strategy_name}"
        stages = parts(network)
        if network.circuits:
            if not all(isinstance(stage, Alone) for stage in stages):
                raise UserError(
                    f"{where}: the blocks of a circuit run several times per pass, or beside other stages; "
                    "use ff_local"
                )
            if tuple(network.readouts):
                raise UserError(f"{where}: readouts read all blocks of the circuit; use ff_local")
        if module.algorithm.whole_network:
            raise UserError(
                f"{where}: {recipe.algorithm.kind}: {module.algorithm.whole_network}; use ff_local"
            )
        if not _steady(module.schedule, config.max_epochs, len(network.learning)):
            raise UserError(f"{where}: with this schedule blocks learn at different times; use ff_local")
        if config.cut:
            chosen(network, stages, config.cut, ranks)
            return
        learn = sum(learning(network, stages, segments(network, stages)))
        if learn < ranks:
            raise UserError(
                f"{where}: {ranks} ranks, but the network has {learn} part{'s' * (learn != 1)} that learn "
                f"separately; set {cls.fewer} to fewer, or use ff_local"
            )

    def distribution(self) -> Distribution:
        """See `LocalDDP.distribution`."""
        made = layout(self._stages or Group().world, self.root_device)
        replicas = made.every.world // made.line.world
        return Pipeline(made, -(-self._batch // replicas), self._balance, self._cut)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Returns the state of all blocks, as in a run of one process."""
        module = self.lightning_module
        assert isinstance(module, ForwardOnly)
        module.distribution.settle(module)
        return super().lightning_module_state_dict()

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Returns the optimiser states of all blocks, as in a run of one process."""
        state: dict[str, Any] = super().optimizer_state(optimizer)
        module = self.lightning_module
        assert isinstance(module, ForwardOnly)
        assert isinstance(module.distribution, Pipeline)
        return {**state, "blocks": module.distribution.optimizers(state["blocks"])}


def _steady(schedule: Schedule, epochs: int, blocks: int) -> bool:
    """Whether all blocks learn in every batch, in the same windows."""
    if schedule.adaptive:
        return False
    moments = [Progress(epoch, step, epochs) for epoch in range(epochs) for step in (0, 1)]
    plans = {schedule.windows(progress, blocks) for progress in moments}
    return len(plans) == 1 and sum(map(len, plans.pop())) == blocks
