"""A module for Lightning around a network that was made in Python, with the rest from a recipe."""

from __future__ import annotations

from typing import Any

from ffcore.build.components import make
from ffcore.build.optimizers import check_optimizer, lr_factor, makers
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError
from ffcore.network import Network
from ffcore.recipe.schema import Recipe


def objects_of(net: Network) -> dict[str, Any]:
    """The network's parts where a recipe has them, so that it records what they are."""
    return {
        "algorithm": net.algorithm,
        "network": [net.local.body],
        "contribution": net.contribution,
        "schedule": net.schedule,
        "readouts": {name: block.body for name, block in net.local.readout_blocks.items()},
    }


def around(net: Network, recipe: Recipe, shape: tuple[int, ...], classes: int) -> ForwardOnly:
    """The module that trains a network as a recipe's trainer, optimiser and augmentations say.

    Args:
        net: the network, used as it is.
        recipe: everything else.
        shape: shape of one sample of the data.
        classes: number of classes of the data.

    Raises:
        UserError: when the network was built for other data.
    """
    if net.shape != shape or net.classes != classes:
        raise UserError(
            f"data: {classes} classes of samples {shape}; the network was built for {net.classes} of "
            f"{net.shape}"
        )
    check_optimizer(recipe.optimizer, "optimizer")
    module = ForwardOnly(
        net,
        makers(recipe.optimizer, {}),
        augmentations=[make(spec, f"data.augment.{i}") for i, spec in enumerate(recipe.data.augment)],
        lr_factor=lr_factor(recipe.lr_schedule),
        epochs=recipe.trainer.max_epochs,
        clip=recipe.trainer.clip,
        clip_value=recipe.trainer.clip_value,
        accumulate=recipe.trainer.accumulate,
    )
    module.logs = False
    return module
