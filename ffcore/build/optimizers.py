"""Builds optimisers and learning-rate factors from their parts of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from ffcore.blame import reported
from ffcore.build.objects import loaded, own
from ffcore.errors import FOREIGN, RunError, UserError, a
from ffcore.local.optimizers import Make
from ffcore.recipe.calls import Call
from ffcore.recipe.lr import LRSchedule
from ffcore.recipe.optimizers import OptimizerConfig
from ffcore.recipe.options import values_of
from ffcore.recipe.spec import Spec


def new_optimizer(
    config: OptimizerConfig, parameters: Sequence[nn.Parameter], path: str = "optimizer"
) -> torch.optim.Optimizer:
    """Return an optimiser of ``parameters``.

    Args:
        config: its part of the recipe.
        parameters: the parameters to optimise.
        path: its path in the recipe, for messages.

    Raises:
        UserError: with the path, when its options do not fit, or the function does not return an optimiser.
    """
    make, options = _called(config, path)
    try:
        made = make(list(parameters), **options)
    except FOREIGN as error:
        raise UserError(f"{path}: the optimiser cannot be made: {reported(error)}") from error
    if not isinstance(made, torch.optim.Optimizer):
        raise UserError(
            f"{path}: it returns {a(type(made).__name__)}; it should return a torch.optim.Optimizer"
        )
    return made


def check_optimizer(config: OptimizerConfig | None, path: str) -> float:
    """Test an optimiser on a small parameter, before anything is written; return its learning rate.

    Args:
        config: its part of the recipe, or None.
        path: its path in the recipe, for messages.

    Raises:
        UserError: with the path, when the optimiser cannot be made, or cannot step.
    """
    if config is None:
        return 1.0
    parameter = nn.Parameter(torch.ones(2, 2))
    made = new_optimizer(config, [parameter], path)
    parameter.grad = torch.zeros(2, 2)
    try:
        made.step()
    except FOREIGN as error:
        raise UserError(f"{path}: {type(made).__name__} cannot step: {reported(error)}") from error
    return float(made.param_groups[0].get("lr", 1.0))


def lr_factor(config: LRSchedule, rate: float = 1.0) -> Callable[[float, int], float]:
    """Return the factor on learning rates, a function of the epoch and the number of epochs.

    Args:
        config: the recipe's ``lr_schedule``.
        rate: the learning rate of its ``optimizer``, from which a scheduler of torch begins.

    Raises:
        UserError: when its options do not fit, or its factor at epoch 0 is not finite.
    """
    path = "lr_schedule"
    function, options = _called(config, path)
    try:
        made: Callable[[float, int], float] = partial(function, **options)
        if isinstance(function, type):
            made = _factor_of(function, options, rate)
        first = _number(made(0.0, 1))
    except FOREIGN as error:
        hint = f"; write options beside kind: {function.__name__}" if isinstance(function, type) else ""
        raise UserError(f"{path}: it does not return a factor: {reported(error)}{hint}") from error
    if not 0 <= first < math.inf:
        raise UserError(f"{path}: its factor is {first} at epoch 0; it should be a number ≥ 0")
    return partial(_checked, made, path)  # not a closure: trained predictors can be pickled


def _checked(made: Callable[[float, int], float], path: str, epoch: float, epochs: int) -> float:
    try:
        value = _number(made(epoch, epochs))
    except FOREIGN as error:
        raise RunError(f"{path}: no factor at epoch {epoch:g}: {reported(error)}") from error
    if not 0 <= value < math.inf:
        raise RunError(f"{path}: its factor is {value} at epoch {epoch:g}; it should be a number ≥ 0")
    return value


def _number(value: Any) -> float:
    """Return a factor as a float. Text is refused, although ``float`` would read it."""
    if isinstance(value, str | bytes):
        raise TypeError(f"{value!r} is text, not a number")
    return float(value)


def _factor_of(schedule: type[Any], options: Mapping[str, Any], rate: float) -> Callable[[float, int], float]:
    """Return ``factor`` of a schedule, or that of a torch scheduler."""
    if not issubclass(schedule, LRScheduler):
        factor: Callable[[float, int], float] = schedule(**options).factor
        return factor
    stepped = _Stepped(schedule, options, rate or 1.0)
    stepped(1.0, 1)  # fails here for a scheduler that needs a metric, such as ReduceLROnPlateau
    return stepped


class _Stepped:
    """The rates of a torch scheduler, divided by that of the optimiser.

    A torch scheduler only counts upwards; its rates are stored, so that any epoch can be asked for.
    """

    def __init__(self, schedule: type[LRScheduler], options: Mapping[str, Any], rate: float) -> None:
        self._optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=rate)
        self._scheduler = schedule(self._optimizer, **options)
        self._rate = rate
        self._factors = [self._factor()]  # after 0, 1, 2, … epochs

    def __call__(self, epoch: float, epochs: int) -> float:
        while len(self._factors) <= int(epoch):
            self._optimizer.step()
            self._scheduler.step()
            self._factors.append(self._factor())
        return self._factors[int(epoch)]

    def _factor(self) -> float:
        return float(self._optimizer.param_groups[0]["lr"]) / self._rate


def _called(config: Spec | Call, path: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function of a recipe entry and its keyword arguments."""
    if isinstance(config, Call):
        return own(config.kind, path), config.options
    return loaded(config, path), values_of(config.options)


def makers(default: OptimizerConfig, own: Mapping[str, OptimizerConfig]) -> dict[str, Make]:
    """Return functions from parameters to an optimiser, by block; "*" is for all other blocks.

    Args:
        default: the recipe's ``optimizer``.
        own: the optimisers of single blocks and readouts, by name.
    """
    return {name: partial(new_optimizer, config) for name, config in {"*": default, **own}.items()}
