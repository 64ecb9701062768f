"""Lightning's strategy for a pipeline; `ffcore.ranks.division` divides the network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal, cast

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from ffcore.engine.distribution import Distribution
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError, everywhere
from ffcore.ranks.cut import check_divisible
from ffcore.ranks.division import Balance, Pipeline
from ffcore.ranks.group import Group
from ffcore.ranks.layout import layout
from ffcore.ranks.local import LocalDDP
from ffcore.ranks.where import world
from ffcore.ranks.whole import needs_whole
from ffcore.recipe.options import values_of
from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import Spec

Hold = Literal["own", "all"]


class PipelineStrategy(LocalDDP):
    """Lightning's strategy for a pipeline: each process has some of the blocks.

    Args:
        batch: samples of a full batch.
        balance: see `Pipeline`.
        cut: see `Pipeline`.
        timeout: seconds after which waiting for another rank is an error.
        hold: "own": each rank holds only its own blocks while it trains and measures, unless something uses
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
        module = self._module
        fits, predicts = (module.trainer.state.fn == fn for fn in (TrainerFn.FITTING, TrainerFn.PREDICTING))
        own = not predicts and self.holds_own(module.trainer) and (fits or self._can_divide(module))
        balance = self._balance if fits else "counted"
        share, refuse = -(-self._batch // replicas), partial(self._refuse, module)
        return Pipeline(made, share, balance, self._cut, own, self.root_device, self._waits, refuse)

    @property
    def _module(self) -> ForwardOnly:
        module = self.lightning_module
        assert isinstance(module, ForwardOnly)
        return module

    def _setup_model(self, model: nn.Module) -> Any:
        """See `LocalDDP`; divides the network before this rank's part of it moves to the device.

        Optimisers are made after it, since some make their states at once.
        """
        made = super()._setup_model(model)
        module = self._module
        division = module.distribution
        assert isinstance(division, Pipeline)
        if division.early:
            division.divide(module.network)
            module.to(self.root_device)
        return made

    def model_to_device(self) -> None:
        """Move the module to the device of this rank, unless it is to be divided first."""
        division = self._module.distribution
        if not (isinstance(division, Pipeline) and division.early):
            super().model_to_device()

    def teardown(self) -> None:
        """See `LocalDDP.teardown`; ends a division for a test, or for a training without a step."""
        module = self.lightning_module
        if isinstance(module, ForwardOnly) and isinstance(module.distribution, Pipeline):
            module.distribution.end_unused()
        super().teardown()

    def _can_divide(self, module: ForwardOnly) -> bool:
        try:
            self._check(module, self._stages or Group().world)
        except UserError:
            return False
        return True

    def _check(self, module: ForwardOnly, ranks: int) -> None:
        epochs = max(1, module.epochs or module.trainer.max_epochs or 1)
        where, fewer = type(self).__name__, self.fewer.rpartition(".")[2]
        check_divisible(module, ranks, epochs, where, fewer, self._cut)

    def _refuse(self, module: ForwardOnly, ranks: int) -> None:
        try:
            self._check(module, ranks)
        except UserError as error:
            everywhere(error)  # all ranks have the same network
            raise

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """The share of each batch for samplers that Lightning adds to a loader of the user."""
        stages = self._stages or self.world_size
        return {"num_replicas": self.world_size // stages, "rank": self.global_rank // stages}

    def holds_own(self, trainer: Trainer, module: ForwardOnly | None = None) -> bool:
        """Returns whether each rank holds only its own blocks, and measures with the others of its line.

        All ranks call this. They agree, since callbacks may differ between ranks.
        """
        module = module or self._module
        own = self._hold == "own" and needs_whole(module, cast(Any, trainer).callbacks) is None
        return all(Group().objects(own))

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Returns the state of all blocks, as in a run of one process."""
        division = self._module.distribution
        assert isinstance(division, Pipeline)
        division.settle(self._module)
        return division.whole_state(self._module)

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Returns the optimiser states of all blocks, as in a run of one process."""
        state: dict[str, Any] = super().optimizer_state(optimizer)
        division = self._module.distribution
        assert isinstance(division, Pipeline)
        return {**state, "blocks": division.optimizers(state["blocks"])}
