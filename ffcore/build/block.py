"""Builds a local block from the ``block`` part of a recipe."""

from __future__ import annotations

from torch import nn

from ffcore.build.components import make
from ffcore.build.names import refuse_reserved
from ffcore.errors import UserError
from ffcore.interfaces import LocalLoss
from ffcore.local import LocalBlock
from ffcore.recipe.network import BlockConfig


def local_block(
    body: nn.Module,
    name: str,
    where: str,
    config: BlockConfig,
    loss: LocalLoss | None = None,
    handoff: nn.Module | None = None,
) -> LocalBlock:
    """Return a block around a body, with the loss of its part of the recipe or a given one.

    Args:
        body: the body of the block.
        name: name of the block.
        where: the path of ``config`` in the recipe, for messages.
        config: the block's part of the recipe.
        loss: replaces the loss of the recipe.
        handoff: the handoff of the block; identity if None.

    Raises:
        UserError: with the path, when parts do not fit together.
    """
    parts = {
        noun: make(spec, f"{where}.{noun}")
        for noun, spec in (
            ("goodness", config.goodness),
            ("rule", config.rule),
            ("objective", config.objective),
        )
        if spec is not None and (loss is None or noun != "objective")
    }
    if loss is None:
        for penalty in config.penalties:
            refuse_reserved(penalty, f"{where}.penalties.{penalty}", block=False)
        parts["penalties"] = {n: make(spec, f"{where}.penalties.{n}") for n, spec in config.penalties.items()}
        loss = None if config.loss is None else make(config.loss, f"{where}.loss")
    try:
        return LocalBlock(body, loss=loss, handoff=handoff, per_view=config.per_view, name=name, **parts)
    except UserError as error:
        raise UserError(f"{where}.{error}") from error
