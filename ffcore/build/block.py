"""From a recipe's ``block`` to a local block."""

from __future__ import annotations

from torch import nn

from ffcore.build.components import make
from ffcore.errors import UserError
from ffcore.interfaces import Goodness, LocalLoss, Objective
from ffcore.local import GoodnessLoss, LocalBlock
from ffcore.recipe.network import BlockConfig


def local_block(
    body: nn.Module,
    name: str,
    where: str,
    config: BlockConfig,
    loss: LocalLoss | None = None,
    handoff: nn.Module | None = None,
) -> LocalBlock:
    """A block around a body, with the loss of its part of the recipe unless it has its own.

    Args:
        body: the module inside.
        name: of the block.
        where: the path of ``config`` in the recipe, for messages.
        config: what the recipe says.
        loss: a loss of its own.
        handoff: what is done to its activity on the way out.

    Raises:
        UserError: with the path, when parts do not fit together.
    """
    goodness: Goodness | None = None
    if config.goodness is not None:
        goodness = make(config.goodness, f"{where}.goodness")
    rule = make(config.rule, f"{where}.rule") if config.rule is not None else None
    own = loss if loss is not None else _loss(config, goodness, where)
    return LocalBlock(body, goodness, own, handoff, rule, config.per_view, name)


def _loss(config: BlockConfig, goodness: Goodness | None, where: str) -> GoodnessLoss | None:
    if config.objective is None:
        if config.penalties:
            raise UserError(f"{where}.penalties: a block without an objective does not learn from them")
        return None
    if goodness is None:
        raise UserError(f"{where}.goodness: objective {config.objective.kind} needs a goodness")
    objective: Objective = make(config.objective, f"{where}.objective")
    if objective.accepts != goodness.kind:
        kind = config.goodness.kind if config.goodness is not None else "?"
        raise UserError(
            f"{where}.objective: {config.objective.kind} reads goodness of kind {objective.accepts!r}, "
            f"but {kind} gives kind {goodness.kind!r}"
        )
    penalties = {n: make(spec, f"{where}.penalties.{n}") for n, spec in config.penalties.items()}
    try:
        return GoodnessLoss(objective, penalties)
    except ValueError as error:
        raise UserError(f"{where}.{error}") from error
