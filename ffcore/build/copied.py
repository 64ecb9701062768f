"""A copy of a network that learns in its place: its steps change nothing of the original."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import BlackBox, Progress
from ffcore.local import BlockOptimizers, BoxStage, block_optimizers
from ffcore.network import Network

_EPOCHS = 10_000
"""Epochs of a run that is long enough for every schedule."""


class _Silent(BlackBox):
    """Takes the place of a black box that should not be called.

    Args:
        shape: shape of one row of the output; None if it is not known.
        name: name of the box.
    """

    def __init__(self, shape: tuple[int, ...] | None, name: str) -> None:
        super().__init__()
        self.shape, self.name = shape, name

    def forward(self, x: Tensor) -> Tensor:
        """Return random numbers."""
        if self.shape is None:
            raise UserError(f"the black box {self.name} is not called, and the shape of its output not known")
        return torch.rand(x.shape[0], *self.shape, device=x.device)


def copied(net: Network, optimizers: Any) -> tuple[Network, BlockOptimizers | None]:
    """Return a copy that shares nothing with the network, and its optimisers.

    Black boxes of the copy are stand-ins that return random numbers.

    Args:
        net: the network.
        optimizers: its optimisers, or what `ffcore.optimizers` takes; None: those that the network has.
    """
    local = net.local
    memo: dict[int, Any] = {id(local.observers): [], id(net.records): []}
    if local.record is not None:
        memo[id(local.record)] = _ignored
    if local.route is not None:
        memo[id(local.route)] = _ignored
    modules = {part: None for top in (net, *local.learners.values()) for part in top.modules()}
    for part in modules:
        if isinstance(part, BoxStage):
            memo[id(part.box)] = _Silent(part.shape, part.name)
    for part in modules:
        if isinstance(part, BlackBox):
            memo.setdefault(id(part), _Silent(None, type(part).__name__))
    given = optimizers if isinstance(optimizers, BlockOptimizers) else None
    own, made = copy.deepcopy((net, given or local.optimizers), memo)
    if optimizers is not None and given is None:
        made = block_optimizers(own.local, optimizers)
    own.local.route, own.local.record, own.local.finite = None, None, False
    for block in own.local.learners.values():
        block._how_to_compile = None
    return own, made


def _ignored(*args: Any) -> None:
    pass


def plan_all(net: Network) -> None:
    """Let all blocks learn that learn at any time; see `all_windows`."""
    net.advance(Progress(0, 0, _EPOCHS))
    net.local.plan(all_windows(net))


def all_windows(net: Network) -> list[range]:
    """Return the windows of the first step, and one for each other block, ascending."""
    count = len(net.local.learning)
    windows = [w for w in net.schedule.windows(Progress(0, 0, _EPOCHS), count) if w]
    covered = {i for window in windows for i in window}
    windows += [range(i, i + 1) for i in range(count) if i not in covered]
    return sorted(windows, key=lambda window: window.start)
