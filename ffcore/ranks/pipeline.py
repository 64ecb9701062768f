"""Layer parallel training: every rank has some of the blocks, and all of each batch.

Each rank makes the batch and its views by itself, from the same numbers; only what blocks hand on goes from
rank to rank, and nothing comes back. Ranks learn different batches at the same time.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ffcore.engine.distribution import Distribution
from ffcore.engine.module import ForwardOnly
from ffcore.engine.partial_epoch import PartialEpoch
from ffcore.errors import UserError
from ffcore.interfaces import Progress, Schedule, Views
from ffcore.local import BlockOptimizer, LocalNetwork
from ffcore.ranks.cut import balanced, chosen, counted, learning, ranges, segments
from ffcore.ranks.group import Group
from ffcore.ranks.link import Link
from ffcore.ranks.local import LocalDDP, on_gpu
from ffcore.ranks.span import Span
from ffcore.ranks.where import world
from ffcore.recipe.schema import Recipe
from ffcore.trust import trusting

Balance = Literal["counted", "measured"]
_MEASURED = 5  # batches


class Pipeline(Distribution):
    """Blocks in contiguous groups on ranks; readouts are the last one's.

    Args:
        group: all ranks.
        batch: samples of a full batch.
        balance: how the network is cut.
        cut: names of the blocks that ranks after the first begin with; empty: as ``balance`` says.

    Attributes:
        loads: what each rank's stages cost, in multiplications or seconds, where they were dealt out by that;
            known once training has begun.
    """

    ranks: Group
    loads: Sequence[float] = ()

    def __init__(self, group: Group, batch: int, balance: Balance, cut: Sequence[str]) -> None:
        self.ranks = group
        self.batch = batch
        self.balance = balance
        self.cut = cut
        self._network: LocalNetwork | None = None
        self._link: Link | None = None
        self._owners: dict[str, int] = {}

    def begin(self, network: LocalNetwork, batches: Iterable[Views]) -> None:
        """Cut the network, and connect this rank to its neighbours."""
        self._network = network
        if self.cut:
            starts = chosen(network, self.cut, self.ranks.world)
        else:
            costs = counted(network) if self.balance == "counted" else self._measured(network, batches)
            parts = segments(network)
            found = balanced(_sums(costs, parts), learning(network, parts), self.ranks.world)
            starts = [parts[part] for part in found]
            self.loads = _sums(costs, starts)
        self._lay(network, ranges(starts, len(network.stages)))

    def _lay(self, network: LocalNetwork, spans: Sequence[range]) -> None:
        last = self.ranks.world - 1
        home = {
            part: rank
            for rank, span in enumerate(spans)
            for i in span
            for part in network.stages[i].modules()
        }
        self._owners = {name: home.get(block, last) for name, block in network.learners.items()}
        self._tensors: list[list[Tensor]] = [[] for _ in range(self.ranks.world)]
        for rank, span in enumerate(spans):
            parts = [*(network.stages[i] for i in span), *([network.readout_blocks] if rank == last else [])]
            for part in parts:
                self._tensors[rank] += [t.data for t in (*part.parameters(), *part.buffers()) if t.numel()]
        device = next(network.parameters()).device
        self._link = Link(self.ranks.rank, self.ranks.world, self.batch, device)
        rank = self.ranks.rank
        network.route = Span(spans[rank], rank == last, self._link)
        for name, each in optimizers_of(network).items():
            if not self.owns(name):
                each.optimizer.state.clear()  # others step it

    def end(self) -> None:
        """Nothing is on its way any more, and every rank may run the whole network again."""
        if self._network is not None and self._link is not None:
            self._network.route = None
            self._link.close()
            self._link = None

    def owns(self, name: str) -> bool:
        """See `Distribution.owns`."""
        return self._owners.get(name, self.ranks.rank) == self.ranks.rank

    def settle(self, module: nn.Module) -> None:
        """Give every rank the others' blocks."""
        if self._owners:
            for rank, tensors in enumerate(self._tensors):
                self.ranks.share(tensors, rank)

    def mine(self, states: Sequence[PartialEpoch], shared: bool) -> PartialEpoch:
        """Of this rank's blocks, whoever had them before."""
        assert self._network is not None, "training has begun"
        return PartialEpoch.merged(states).only([name for name in self._network.learners if self.owns(name)])

    def optimizers(self, mine: dict[str, Any]) -> dict[str, Any]:
        """States of all blocks' optimisers, each from the rank that steps it."""
        every = self.ranks.objects({name: state for name, state in mine.items() if self.owns(name)})
        return {name: every[self._owners.get(name, 0)].get(name, state) for name, state in mine.items()}

    def _measured(self, network: LocalNetwork, batches: Iterable[Views]) -> list[float]:
        """Seconds of each stage to learn a batch, the mean of all ranks, which measure at the same time."""
        optimizers = list(optimizers_of(network).values())
        weights = copy.deepcopy(network.state_dict())
        states = [
            {parameter: copy.deepcopy(of) for parameter, of in each.optimizer.state.items()}
            for each in optimizers
        ]
        clock = _Stopwatch(network.stages)
        record, network.record = network.record, None
        observers, network.observers = network.observers, []
        try:
            for views in islice(batches, _MEASURED):
                clock.batch()
                network.learn(views)
                for each in optimizers:
                    each.step()
        finally:
            clock.close()
            network.record, network.observers = record, observers
            with trusting():  # it is this process's own
                network.load_state_dict(weights)
            for each, state in zip(optimizers, states, strict=True):  # their groups are known elsewhere
                each.optimizer.state.clear()
                each.optimizer.state.update(state)
        costs = self.ranks.objects(clock.medians())
        return [sum(of_stage) / len(costs) for of_stage in zip(*costs, strict=True)]


def _sums(costs: Sequence[float], starts: Sequence[int]) -> list[float]:
    return [sum(costs[i] for i in part) for part in ranges(starts, len(costs))]


def optimizers_of(network: LocalNetwork) -> dict[str, BlockOptimizer]:
    """The block optimisers by name; none before they are made."""
    return network.optimizers.blocks if network.optimizers is not None else {}


class _Stopwatch:
    """Seconds that stages take, learning included, by hooks around them."""

    def __init__(self, stages: Sequence[nn.Module]) -> None:
        self._times: list[list[float]] = []
        self._hooks = []
        for i, stage in enumerate(stages):
            self._hooks.append(stage.register_forward_pre_hook(lambda *_, i=i: self._note(i, -1)))
            self._hooks.append(stage.register_forward_hook(lambda *_, i=i: self._note(i, 1)))
        self._stages = len(stages)

    def batch(self) -> None:
        self._times.append([0.0] * self._stages)

    def medians(self) -> list[float]:
        return [sorted(of)[len(of) // 2] for of in zip(*self._times, strict=True)]

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _note(self, stage: int, sign: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._times[-1][stage] += sign * time.perf_counter()


class PipelineStrategy(LocalDDP):
    """Lightning's processes, each with some of the blocks.

    Args:
        batch: samples of a full batch.
        balance: see `Pipeline`.
        cut: see `Pipeline`.
        timeout: seconds after which a rank gives up waiting for another.
    """

    strategy_name = "ff_pipeline"
    shares_batches: ClassVar[bool] = False

    def __init__(
        self, batch: int, balance: Balance = "counted", cut: Sequence[str] = (), timeout: float = 1800.0
    ) -> None:
        super().__init__(timeout=timedelta(seconds=timeout))
        self._batch, self._balance, self._cut = batch, balance, cut

    @classmethod
    def of(cls, recipe: Recipe) -> LocalDDP:
        """See `LocalDDP.of`."""
        config = recipe.trainer
        return cls(recipe.data.batch_size, config.balance, config.cut or (), config.timeout)

    @classmethod
    def refuse(cls, module: ForwardOnly, recipe: Recipe) -> None:
        """Find out whether the network can be cut at all.

        Raises:
            UserError: why it cannot.
        """
        network, config = module.network, recipe.trainer
        ranks = world(config)
        where = "trainer.strategy: ff_pipeline"
        if network.circuits:
            raise UserError(f"{where}: blocks of a circuit are called again and again; use ff_local")
        if module.algorithm.whole_network:
            raise UserError(
                f"{where}: {recipe.algorithm.kind}: {module.algorithm.whole_network}; use ff_local"
            )
        if not _steady(module.schedule, config.max_epochs, len(network.learning)):
            raise UserError(f"{where}: with this schedule blocks learn at different times; use ff_local")
        if tuple(network.readouts) and on_gpu(recipe):
            raise UserError(
                f"{where}: with readouts two kinds of messages are on their way, which has not been tried on "
                "GPUs; use ff_local"
            )
        if config.cut:
            chosen(network, config.cut, ranks)
            return
        learn = sum(learning(network, segments(network)))
        if learn < ranks:
            raise UserError(
                f"{where}: {ranks} ranks, but the network has {learn} part{'s' * (learn != 1)} that learn by "
                "themselves, between its stages; set trainer.devices to fewer, or use ff_local"
            )

    def distribution(self) -> Distribution:
        """See `LocalDDP.distribution`."""
        return Pipeline(Group(), self._batch, self._balance, self._cut)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Of all blocks, as one process would have it."""
        module = self.lightning_module
        assert isinstance(module, ForwardOnly)
        module.distribution.settle(module)
        return super().lightning_module_state_dict()

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Likewise."""
        state: dict[str, Any] = super().optimizer_state(optimizer)
        module = self.lightning_module
        assert isinstance(module, ForwardOnly)
        assert isinstance(module.distribution, Pipeline)
        return {**state, "blocks": module.distribution.optimizers(state["blocks"])}


def _steady(schedule: Schedule, epochs: int, blocks: int) -> bool:
    """Whether the same blocks learn together in every batch, all of them."""
    moments = [Progress(epoch, step, epochs) for epoch in range(epochs) for step in (0, 1)]
    found = {schedule.windows(progress, blocks) for progress in moments}
    return len(found) == 1 and sum(map(len, found.pop())) == blocks
