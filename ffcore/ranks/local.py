"""Data parallel training: every rank has all blocks, and a share of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from torch import Tensor, nn

from ffcore.engine.distribution import Distribution
from ffcore.engine.module import ForwardOnly
from ffcore.engine.partial_epoch import PartialEpoch
from ffcore.private import leave_stop_flag_alone
from ffcore.ranks.group import Group, told
from ffcore.ranks.launcher import Launcher
from ffcore.recipe.schema import Recipe


def on_gpu(recipe: Recipe) -> bool:
    """Whether a run computes on GPUs."""
    return recipe.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


class DataParallel(Distribution):
    """Gradients are summed block by block; see `ffcore.local.BlockOptimizer`."""

    ranks: Group

    def __init__(self, group: Group) -> None:
        self.ranks = self.learning = group

    def settle(self, module: nn.Module) -> None:
        """Let running statistics be the mean of all ranks'; what is the same everywhere stays to the bit."""
        for value in self.buffers(module).values():
            first = value.clone()
            self.ranks.share([first])
            value.sub_(first)
            value.copy_(self.ranks.sum(value).div_(self.ranks.world).add_(first))

    def buffers(self, module: nn.Module) -> dict[str, Tensor]:
        """All of floating point."""
        return {name: b for name, b in module.named_buffers() if b.is_floating_point() and b.numel()}

    def mine(self, states: Sequence[PartialEpoch], shared: bool) -> PartialEpoch:
        """This rank's own; if ranks had others before, the first goes on with everything."""
        if shared and len(states) == self.ranks.world:
            return states[self.ranks.rank]
        whole = PartialEpoch.merged(states)
        return whole if self.ranks.rank == 0 else whole.emptied()


class LocalDDP(DDPStrategy):
    """Lightning's processes without its wrapper, which knows one backward a step: blocks have one each.

    Parameters and buffers come from the first rank, once.
    """

    strategy_name = "ff_local"
    shares_batches: ClassVar[bool] = True
    """Whether each rank has a share of every training batch, not all of it."""

    @classmethod
    def of(cls, recipe: Recipe) -> LocalDDP:
        """The strategy as a recipe describes it."""
        return cls(timeout=timedelta(seconds=recipe.trainer.timeout))

    @classmethod
    def refuse(cls, module: ForwardOnly, recipe: Recipe) -> None:
        """Find out whether a module can be trained like this, before anything is started.

        Raises:
            UserError: why it cannot.
        """

    def setup(self, trainer: Trainer) -> None:
        """Tell the module how it is spread, before its optimisers are made.

        Raises:
            TypeError: when it is none of ffcore's.
        """
        module = self.lightning_module
        if not isinstance(module, ForwardOnly):
            raise TypeError(f"strategy {self.strategy_name}: trains ForwardOnly, not {type(module).__name__}")
        module.distribution = self.distribution()
        leave_stop_flag_alone(trainer)  # `Vote` asks all ranks twice a second instead
        super().setup(trainer)

    def distribution(self) -> Distribution:
        """How this strategy lays a module on its ranks."""
        return DataParallel(Group())

    def configure_ddp(self) -> None:
        """Give all ranks the first one's numbers; the module stays as it is."""
        assert self.model is not None
        tensors = [*self.model.parameters(), *self.model.buffers()]
        Group().share([t.data for t in tensors if t.numel()])

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        """Wait for all ranks."""
        with told():
            super().barrier(*args, **kwargs)

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Give all ranks what one has."""
        with told():
            return super().broadcast(obj, src)

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)


StrategyRegistry.register(LocalDDP.strategy_name, LocalDDP)
