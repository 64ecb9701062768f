"""Layer parallel training: every rank has some of the blocks and all of each batch.

Each rank makes the batch and its views itself, with the same batch RNG. Only handoffs are sent, from each
rank to the next; no gradients are sent back. The ranks learn different batches at the same time. Blocks that
read nothing of each other (an independent circuit) send nothing.
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
from ffcore.local.alone import Alone, Apart, parts
from ffcore.ranks.cut import balanced, chosen, counted, learning, ranges, segments
from ffcore.ranks.group import Group
from ffcore.ranks.link import Link
from ffcore.ranks.local import LocalDDP, on_gpu
from ffcore.ranks.span import Span
from ffcore.ranks.where import world
from ffcore.recipe.schema import Recipe
from ffcore.trust import trusting

Balance = Literal["counted", "measured"]
_MEASURED = 5  # batches that the cost of a stage is measured on


class Pipeline(Distribution):
    """The distribution of a pipeline: each rank has a contiguous range of stages; the last has the readouts.

    Args:
        group: all ranks.
        batch: samples of a full batch.
        balance: the cost by which the network is divided: counted multiplications or measured seconds.
        cut: names of the first blocks of all ranks but the first; empty to divide by ``balance``.

    Attributes:
        loads: the cost of each rank, in multiplications or seconds; set at the start of training, empty with
            ``cut``.
    """

    ranks: Group
    loads: Sequence[float] = ()

    def __init__(self, group: Group, batch: int, balance: Balance, cut: Sequence[str]) -> None:
        self.ranks = group
        self.batch = batch
        self.balance = balance
        self.cut = cut
        self._network: LocalNetwork | None = None
        self._stages: Sequence[nn.Module] = ()
        self._link: Link | None = None
        self._owners: dict[str, int] = {}

    def begin(self, network: LocalNetwork, batches: Iterable[Views]) -> None:
        """Divide the network and connect this rank to its neighbours."""
        self._network = network
        self._stages = stages = parts(network)
        if self.cut:
            starts = chosen(network, stages, self.cut, self.ranks.world)
        else:
            if self.balance == "counted":
                costs = counted(network, stages)
            else:
                costs = self._measured(network, batches)
            first = segments(network, stages)
            learn = learning(network, stages, first)
            starts = [first[i] for i in balanced(_sums(costs, first), learn, self.ranks.world)]
            self.loads = _sums(costs, starts)
        self._assign(network, ranges(starts, len(stages)))

    def _assign(self, network: LocalNetwork, spans: Sequence[range]) -> None:
        last = self.ranks.world - 1
        rank_of = {
            part: rank for rank, span in enumerate(spans) for i in span for part in self._stages[i].modules()
        }
        self._owners = {name: rank_of.get(block, last) for name, block in network.learners.items()}
        self._tensors: list[list[Tensor]] = [[] for _ in range(self.ranks.world)]
        for rank, span in enumerate(spans):
            own = [*(self._stages[i] for i in span), *([network.readout_blocks] if rank == last else [])]
            for part in own:
                self._tensors[rank] += [t.data for t in (*part.parameters(), *part.buffers()) if t.numel()]
        rank = self.ranks.rank
        if network.circuits:
            network.route = Apart([self._stages[i] for i in spans[rank]])
        else:
            device = next(network.parameters()).device
            self._link = Link(rank, self.ranks.world, self.batch, device)
            network.route = Span(spans[rank], rank == last, self._link)
        for name, each in optimizers_of(network).items():
            if not self.owns(name):
                each.optimizer.state.clear()  # another rank steps it: free its memory here

    def end(self) -> None:
        """Finish all transfers; from now on every rank can run the whole network again."""
        if self._network is not None:
            self._network.route = None
        if self._link is not None:
            self._link.close()
            self._link = None

    def owns(self, name: str) -> bool:
        """See `Distribution.owns`."""
        return self._owners.get(name, self.ranks.rank) == self.ranks.rank

    def settle(self, module: nn.Module) -> None:
        """Broadcast the blocks of each rank to all others."""
        if self._owners:
            for rank, tensors in enumerate(self._tensors):
                self.ranks.share(tensors, rank)

    def mine(self, states: Sequence[PartialEpoch], shared: bool) -> PartialEpoch:
        """Returns the partial epoch state of this rank's blocks, whichever rank saved it."""
        assert self._network is not None, "training has begun"
        return PartialEpoch.merged(states).only([name for name in self._network.learners if self.owns(name)])

    def optimizers(self, mine: dict[str, Any]) -> dict[str, Any]:
        """Returns the optimiser states of all blocks, each from the rank that steps it."""
        by_rank = self.ranks.objects({name: state for name, state in mine.items() if self.owns(name)})
        return {name: by_rank[self._owners.get(name, 0)].get(name, state) for name, state in mine.items()}

    def _measured(self, network: LocalNetwork, batches: Iterable[Views]) -> list[float]:
        """Returns the seconds of each stage to learn a batch: the mean of all ranks, which measure together.

        The measurement trains the network for a few batches; weights and optimiser states are restored.
        """
        optimizers = list(optimizers_of(network).values())
        weights = copy.deepcopy(network.state_dict())
        states = [
            {parameter: copy.deepcopy(of) for parameter, of in each.optimizer.state.items()}
            for each in optimizers
        ]
        # the block itself: outside a pipeline a circuit calls its blocks
        clock = _Stopwatch([stage.block if isinstance(stage, Alone) else stage for stage in self._stages])
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
            with trusting():  # the state was made by this process
                network.load_state_dict(weights)
            # Not load_state_dict: it would replace the parameter groups, which learning-rate schedules refer
            # to.
            for each, state in zip(optimizers, states, strict=True):
                each.optimizer.state.clear()
                each.optimizer.state.update(state)
        costs = self.ranks.objects(clock.medians())
        return [sum(of_stage) / len(costs) for of_stage in zip(*costs, strict=True)]


def _sums(costs: Sequence[float], starts: Sequence[int]) -> list[float]:
    return [sum(costs[i] for i in part) for part in ranges(starts, len(costs))]


def optimizers_of(network: LocalNetwork) -> dict[str, BlockOptimizer]:
    """Returns the block optimisers by name; empty before they are made."""
    return network.optimizers.blocks if network.optimizers is not None else {}


class _Stopwatch:
    """Measures the seconds of each stage, with its learning, by forward hooks."""

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
        """Add −now before a stage and +now after it: the sum is its duration."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # kernels run asynchronously: without it only their launch is measured
        self._times[-1][stage] += sign * time.perf_counter()


class PipelineStrategy(LocalDDP):
    """Lightning's strategy for a pipeline: each process has some of the blocks.

    Args:
        batch: samples of a full batch.
        balance: see `Pipeline`.
        cut: see `Pipeline`.
        timeout: seconds after which waiting for another rank is an error.
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
        """Check that the network can be divided.

        Raises:
            UserError: it cannot; the message gives the reason.
        """
        network, config = module.network, recipe.trainer
        ranks = world(config)
        where = "trainer.strategy: ff_pipeline"
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
        if tuple(network.readouts) and on_gpu(recipe):
            raise UserError(
                f"{where}: readouts need a second kind of message, which is not tested on GPUs; use ff_local"
            )
        if config.cut:
            chosen(network, stages, config.cut, ranks)
            return
        learn = sum(learning(network, stages, segments(network, stages)))
        if learn < ranks:
            raise UserError(
                f"{where}: {ranks} ranks, but the network has {learn} part{'s' * (learn != 1)} that learn "
                "separately; set trainer.devices to fewer, or use ff_local"
            )

    def distribution(self) -> Distribution:
        """See `LocalDDP.distribution`."""
        return Pipeline(Group(), self._batch, self._balance, self._cut)

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
