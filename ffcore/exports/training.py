"""What a runtime needs to train as a run does: epochs, learning rates, and what changes with the epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ffcore.errors import UserError
from ffcore.interfaces import Augmentation, Component, Progress, Schedule
from ffcore.network import Network


@dataclass(frozen=True, slots=True)
class Training:
    """What a runtime needs to train as a run does.

    Attributes:
        epochs: number of epochs E.
        batch_size: samples of a batch.
        rate: factor of the learning rates, a function of the fractional epoch and E.
        augmentations: applied to the samples of every step, in order.
        stored: ``scale``, ``mean`` and ``std`` with which stored values become inputs, or None.
        classes: names of the classes.
        name: name of the network.
    """

    epochs: int = 1
    batch_size: int = 32
    rate: Callable[[float, int], float] | None = None
    augmentations: Sequence[Augmentation] = ()
    stored: dict[str, Any] | None = None
    classes: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        for what, value in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if type(value) is not int or value < 1:
                raise UserError(f"training.{what}: should be a positive integer, not {value!r}")


def rates(training: Training) -> list[list[float]] | None:
    """Return the factors of the learning rates: 17 of each epoch, the last one just before its end."""
    if training.rate is None:
        return None
    epochs = training.epochs
    places = [*(j / 16 for j in range(16)), 1 - 1e-9]
    factors = [[float(training.rate(epoch + place, epochs)) for place in places] for epoch in range(epochs)]
    if not all(math.isfinite(rate) and rate >= 0 for of_epoch in factors for rate in of_epoch):
        raise UserError("training.rate: should return finite numbers from 0")
    return None if all(rate == 1 for of_epoch in factors for rate in of_epoch) else factors


@dataclass(frozen=True, slots=True)
class Span:
    """Epochs in which the same windows learn, in every ``period``-th step.

    Attributes:
        first: first epoch.
        last: one after the last epoch.
        turn: step number modulo the period.
        period: number of steps after which the windows repeat.
    """

    first: int
    last: int
    turn: int = 0
    period: int = 1


_LONGEST = 6  # period of a schedule that can be exported


def spans(schedule: Schedule, net: Network, epochs: int) -> list[Span]:
    """Return the spans of a schedule, in order.

    Raises:
        UserError: when the schedule needs more epochs, depends on validation, or does not repeat itself
            within an epoch.
    """
    if schedule.adaptive:
        raise UserError("export: the schedule stops blocks by validation, which the runtime does not do")
    found: list[tuple[int, int, int]] = []  # first epoch, one after the last, period
    before = None
    for epoch in range(epochs):
        windows = [_windows(schedule, net, Progress(epoch, step, epochs)) for step in range(2 * _LONGEST)]
        period = next((p for p in range(1, _LONGEST + 1) if windows[p:] == windows[:-p]), None)
        if period is None:
            raise UserError(f"export: the schedule does not repeat its windows within {_LONGEST} steps")
        if windows == before:
            found[-1] = (found[-1][0], epoch + 1, period)
        else:
            found.append((epoch, epoch + 1, period))
        before = windows
    return [Span(first, last, turn, period) for first, last, period in found for turn in range(period)]


def _windows(schedule: Schedule, net: Network, progress: Progress) -> Sequence[range]:
    try:
        return schedule.windows(progress, len(net.local.learning))
    except ValueError as error:  # a greedy schedule of too few epochs
        raise UserError(f"export: training.epochs: {error}") from error


def scheduled(net: Network, epochs: int) -> dict[str, list[float]]:
    """Return the buffers that components change with the progress of training: a value for each epoch.

    Raises:
        UserError: when such a buffer is not a single number.
    """
    components = [part for part in net.modules() if isinstance(part, Component)]
    if all(type(part).advance is Component.advance for part in components):
        return {}
    own = copy.deepcopy(net)
    seen: dict[str, list[float]] = {}
    for epoch in range(epochs):
        own.advance(Progress(epoch, 0, epochs))
        for name, value in own.named_buffers():
            if value.numel() == 1 and value.is_floating_point():
                seen.setdefault(name, []).append(float(value))
            elif not torch.equal(value, net.get_buffer(name)):
                raise UserError(f"export: {name} changes with the epoch, and is not a single number")
    return {name: values for name, values in seen.items() if len(set(values)) > 1}
