"""Layer parallel and data parallel training at once: replicas of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError
from ffcore.options import Size
from ffcore.ranks.division import Balance
from ffcore.ranks.pipeline import Hold, PipelineStrategy
from ffcore.ranks.where import world
from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import Spec


class GridStrategy(PipelineStrategy):
    """Lightning's strategy for replicas of a pipeline: ranks divide the blocks, and replicas each batch.

    Each replica learns from its share of every batch, and sums the gradients of each block with the other
    replicas, as ``ff_local`` does. Within a replica activities go from rank to rank, as in ``ff_pipeline``.

    Args:
        stages: number of ranks that the blocks of a replica are divided among.
        batch: samples of a full batch of all replicas.
        balance: see `Pipeline`.
        cut: see `Pipeline`.
        timeout: seconds after which waiting for another rank is an error.
        hold: "own": each rank holds only its own blocks while it trains and measures, unless something uses
            the whole network between batches. "all": every rank holds all blocks.
        sync_batchnorm: see `LocalDDP`.
    """

    strategy_name = "ff_grid"
    fewer = "trainer.strategy.stages"
    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"stages": 2},)

    def __init__(
        self,
        stages: Size,
        batch: int,
        balance: Balance = "counted",
        cut: Sequence[str] = (),
        timeout: float = 1800.0,
        hold: Hold = "own",
        sync_batchnorm: bool = True,
    ) -> None:
        super().__init__(batch, balance, cut, timeout, hold, sync_batchnorm)
        self._stages = stages

    @classmethod
    def stages(cls, recipe: Recipe) -> int:
        """See `PipelineStrategy.stages`.

        Raises:
            UserError: the number of ranks is not a multiple of it.
        """
        spec, ranks = recipe.trainer.strategy, world(recipe.trainer)
        assert isinstance(spec, Spec)
        stages: int = spec.options.stages  # type: ignore[attr-defined]
        if ranks % stages:
            right = ", ".join(str(n) for n in range(1, ranks + 1) if ranks % n == 0)
            raise UserError(
                f"trainer.strategy.stages: {stages}: {ranks} ranks are not a multiple of it; use {right}, or "
                "another trainer.strategy"
            )
        return stages

    @classmethod
    def refuse(cls, module: ForwardOnly, recipe: Recipe) -> None:
        """See `PipelineStrategy.refuse`; with one stage each rank has the whole network."""
        if cls.stages(recipe) > 1:
            super().refuse(module, recipe)
