"""Optimisers of blocks from their part of the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ffcore.local import LocalBlock
from ffcore.recipe.optimizers import OptimizerConfig

_CLASSES: Mapping[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
_FUSED = ("sgd", "adam", "adamw")  # one kernel for a block's parameters: the loop costs 3 × as much on a CPU


class Optimizers:
    """Makes a block's optimiser: its own, or the recipe's.

    Args:
        default: the recipe's.
        own: those of single blocks and readouts, by name.
    """

    def __init__(self, default: OptimizerConfig, own: Mapping[str, OptimizerConfig]) -> None:
        self.default = default
        self.own = own

    def __call__(self, block: LocalBlock, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """A new optimiser over ``parameters``."""
        config = self.own.get(block.name, self.default)
        options = config.model_dump(exclude={"kind"})
        if config.kind in _FUSED:
            options["fused"] = True
        return _CLASSES[config.kind](parameters, **options)
