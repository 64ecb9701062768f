"""Data parallel training: every rank has all blocks and a share of each batch."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from torch import Tensor, nn

from ffcore.engine.distribution import Distribution
from ffcore.engine.module import ForwardOnly
from ffcore.interfaces import Views
from ffcore.local import LocalNetwork
from ffcore.local.batch_norm import restore, synchronise
from ffcore.private import leave_stop_flag_alone
from ffcore.ranks.elastic import store_of_restart
from ffcore.ranks.group import Group, lost_ranks
from ffcore.ranks.launcher import Launcher
from ffcore.ranks.where import world
from ffcore.recipe.schema import Recipe


def on_gpu(recipe: Recipe) -> bool:
    """Whether a run computes on GPUs."""
    return recipe.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def average(values: Iterable[Tensor], group: Group) -> None:
    """Replace values by their mean over ranks, in place."""
    # mean = first + Σ (value − first) / world: the differences of equal values are exactly 0
    for value in values:
        first = value.to(group.device, copy=True)  # the CPU's values too, after training on GPUs
        group.share([first])
        own = value.to(group.device) - first
        value.copy_(group.sum(own).div_(group.world).add_(first))


class DataParallel(Distribution):
    """The distribution of data parallel training: gradients are summed per block, see `BlockOptimizer`.

    Args:
        group: all ranks.
        timeout: seconds to wait for another rank.
    """

    ranks: Group

    def __init__(self, group: Group, timeout: float) -> None:
        self.ranks = self.learning = group
        self._timeout = timeout

    def begin(self, network: LocalNetwork, batches: Iterable[Views]) -> None:
        """See `Distribution.begin`."""
        self.ranks.connect(self._timeout)

    def end(self) -> None:
        """Free the memory of sums."""
        self.ranks.disconnect()

    abandon = end

    def settle(self, module: nn.Module) -> None:
        """Replace running statistics by their mean over ranks. Equal values stay equal to the last bit."""
        average(self.buffers(module).values(), self.ranks)

    def buffers(self, module: nn.Module) -> dict[str, Tensor]:
        """Returns all buffers of floating point."""
        return {name: b for name, b in module.named_buffers() if b.is_floating_point() and b.numel()}


class LocalDDP(DDPStrategy):
    """Lightning's DDP strategy without ``DistributedDataParallel``.

    That wrapper expects one backward pass per step, but every block has its own. Parameters and buffers are
    broadcast from rank 0 once, at the start.

    Args:
        timeout: seconds after which waiting for another rank is an error.
        sync_batchnorm: whether batch norm has the statistics of the global batch; see
            `ffcore.local.batch_norm`. False: of each rank's own rows, as in torch.
    """

    strategy_name = "ff_local"

    def __init__(self, timeout: float = 1800.0, sync_batchnorm: bool = True) -> None:
        super().__init__(timeout=timedelta(seconds=timeout))
        self._sync_batchnorm = sync_batchnorm

    @classmethod
    def of(cls, recipe: Recipe) -> LocalDDP:
        """Returns the strategy of a recipe."""
        return cls(recipe.trainer.timeout, recipe.trainer.sync_batchnorm)

    @classmethod
    def replicas(cls, recipe: Recipe) -> int:
        """Returns the number of shares of each training batch; see `Distribution.learning`."""
        return world(recipe.trainer)

    @classmethod
    def refuse(cls, module: ForwardOnly, recipe: Recipe) -> None:
        """Check that a module can be trained with this strategy, before a process is started.

        Raises:
            UserError: it cannot; the message gives the reason.
        """

    def setup_distributed(self) -> None:
        """Connect the ranks."""
        timeout = self._timeout or timedelta(minutes=30)
        if (store := store_of_restart(timeout)) is not None:
            environment = self.cluster_environment
            assert environment is not None
            dist.init_process_group(
                self._get_process_group_backend(),
                store=store,
                rank=environment.global_rank(),
                world_size=environment.world_size(),
                timeout=timeout,
            )
        super().setup_distributed()  # connects them, unless they are; sets Lightning's own state

    def setup(self, trainer: Trainer) -> None:
        """Set the distribution of the module, before its optimisers are made.

        Raises:
            TypeError: the module is not a `ForwardOnly`.
        """
        module = self.lightning_module
        if not isinstance(module, ForwardOnly):
            raise TypeError(f"strategy {self.strategy_name}: trains ForwardOnly, not {type(module).__name__}")
        module.distribution = self.distribution()
        if (sharing := module.distribution.learning).world > 1:
            sharing.batch_norm = self._sync_batchnorm
        # Lightning's own conversion to nn.SyncBatchNorm gives all ranks the same weight, and refuses CPUs.
        self._layer_sync = None
        for part in {module, *module.network.learners.values()}:  # localized blocks are not sub-modules
            synchronise(part)
        leave_stop_flag_alone(trainer)  # `Vote` asks all ranks twice a second instead
        # Not DDP's: without training it broadcasts where the module is, which NCCL cannot on a CPU.
        super(DDPStrategy, self).setup(trainer)

    def teardown(self) -> None:
        """Give back the batch norms of the module, and what Lightning has set up."""
        module = self.lightning_module
        if isinstance(module, ForwardOnly):
            for part in {module, *module.network.learners.values()}:
                restore(part)
        super().teardown()

    def on_exception(self, exception: BaseException) -> None:
        """Leave the module without connections to other ranks, unless training only pauses."""
        super().on_exception(exception)
        if isinstance(self.lightning_module, ForwardOnly) and not getattr(exception, "pauses", False):
            self.lightning_module.distribution.abandon()

    def distribution(self) -> Distribution:
        """Returns the distribution of this strategy."""
        assert self._timeout is not None
        return DataParallel(Group(), self._timeout.total_seconds())

    def _setup_model(self, model: nn.Module) -> Any:
        """Broadcast parameters and buffers from rank 0. The module is not wrapped."""
        Group().share([t.data for t in (*model.parameters(), *model.buffers()) if t.numel()])
        return model

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        """Wait for all ranks."""
        with lost_ranks():
            super().barrier(*args, **kwargs)

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Broadcast an object from rank ``src``."""
        with lost_ranks():
            return super().broadcast(obj, src)

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)


StrategyRegistry.register(LocalDDP.strategy_name, LocalDDP)
