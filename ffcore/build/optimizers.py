"""Optimisers of blocks from their part of the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch

from ffcore.local.optimizers import Make
from ffcore.recipe.optimizers import OptimizerConfig

_CLASSES: Mapping[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
_FUSED = ("sgd", "adam", "adamw")  # one kernel for a block's parameters: the loop costs 3 × as much on a CPU


def makers(default: OptimizerConfig, own: Mapping[str, OptimizerConfig]) -> dict[str, Make]:
    """Functions from parameters to an optimiser, by block; "*" is the recipe's.

    Args:
        default: the recipe's.
        own: those of single blocks and readouts, by name.
    """
    return {"*": _maker(default), **{name: _maker(config) for name, config in own.items()}}


def _maker(config: OptimizerConfig) -> Make:
    options = config.model_dump(exclude={"kind"})
    if config.kind in _FUSED:
        options["fused"] = True
    return partial(_CLASSES[config.kind], **options)
