"""Optimisers and learning rates from their part of the recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from ffcore.build.objects import own
from ffcore.errors import UserError, typed
from ffcore.local.optimizers import Make
from ffcore.recipe.lr import FactorCall, LRSchedule
from ffcore.recipe.objects import a
from ffcore.recipe.optimizers import OptimizerCall, OptimizerConfig

_CLASSES: Mapping[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
_FUSED = ("sgd", "adam", "adamw")  # one kernel for a block's parameters: the loop costs 3 × as much on a CPU


def new_optimizer(
    config: OptimizerConfig, parameters: Sequence[nn.Parameter], path: str = "optimizer"
) -> torch.optim.Optimizer:
    """An optimiser over ``parameters``.

    Args:
        config: its part of the recipe.
        parameters: what it steps.
        path: its place in the recipe, for messages.

    Raises:
        UserError: with the path, when a class or function from Python makes none.
    """
    if not isinstance(config, OptimizerCall):
        options = config.model_dump(exclude={"kind"})
        if config.kind in _FUSED:
            options["fused"] = True
        return _CLASSES[config.kind](parameters, **options)
    make = own(config.kind, path)
    try:
        made = make(list(parameters), **config.options)
    except Exception as error:  # what the given code raises
        raise UserError(f"{path}: it makes no optimiser: {typed(error, 300)}") from error
    if not isinstance(made, torch.optim.Optimizer):
        raise UserError(f"{path}: it makes {a(type(made).__name__)}; it should make a torch.optim.Optimizer")
    return made


def check_optimizer(config: OptimizerConfig | None, path: str) -> None:
    """Try one that comes from Python on a parameter of its own, before anything is written.

    Args:
        config: its part of the recipe, if it has one.
        path: its place in the recipe, for messages.

    Raises:
        UserError: with the path, when it makes no optimiser, or one that cannot step.
    """
    if not isinstance(config, OptimizerCall):
        return
    parameter = nn.Parameter(torch.ones(2, 2))
    made = new_optimizer(config, [parameter], path)
    parameter.grad = torch.zeros(2, 2)
    try:
        made.step()
    except Exception as error:  # what the given code raises
        raise UserError(f"{path}: {type(made).__name__} cannot step: {typed(error, 300)}") from error


def lr_factor(config: LRSchedule) -> Callable[[float, int], float]:
    """The factor on learning rates as a function of the epoch and the number of epochs.

    Args:
        config: the recipe's ``lr_schedule``.

    Raises:
        UserError: when a function from Python makes no finite number at the beginning.
    """
    if not isinstance(config, FactorCall):
        return config.factor
    function, options = own(config.kind, "lr_schedule"), config.options

    def factor(epoch: float, epochs: int) -> float:
        made: Any = function(epoch, epochs, **options)
        return float(made)

    try:
        first = factor(0.0, 1)
    except Exception as error:  # what the given code raises
        raise UserError(f"lr_schedule: it makes no factor: {typed(error, 300)}") from error
    if not math.isfinite(first):
        raise UserError(f"lr_schedule: its factor is {first} at epoch 0; it should be a finite number")
    return factor


def makers(default: OptimizerConfig, own: Mapping[str, OptimizerConfig]) -> dict[str, Make]:
    """Functions from parameters to an optimiser, by block; "*" is the recipe's.

    Args:
        default: the recipe's.
        own: those of single blocks and readouts, by name.
    """
    return {name: partial(new_optimizer, config) for name, config in {"*": default, **own}.items()}
