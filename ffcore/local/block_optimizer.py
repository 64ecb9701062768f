"""One block's optimiser and all that comes between its gradients and its step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from ffcore.interfaces import ALONE, Ranks
from ffcore.private import step_alone


class BlockOptimizer:
    """Reduces over ranks, divides by the number of samples, clips and steps, for one block.

    With one batch on one rank to a step, gradients are used as they are. Otherwise each batch's gradient, of
    a mean over its samples, is added up times its number of samples, and the sum is divided by the number of
    all samples, so that uneven shares give what one large batch would. All gradients of a block and its
    number of samples travel together, while the next block runs.

    Args:
        parameters: the block's trainable parameters.
        optimizer: the optimiser that holds them.
        clip: largest norm of the block's gradient; None for no limit.
        clip_value: largest size of a single number of it; None for no limit.
        accumulate: batches that are gathered into one step.
        ranks: those that share each batch.
        overlaps: a step that waits for other ranks may be made as late as the block's next call; not so where
            others read the block's parameters.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        clip: float | None = None,
        accumulate: int = 1,
        ranks: Ranks = ALONE,
        clip_value: float | None = None,
        overlaps: bool = True,
    ) -> None:
        self.parameters = list(parameters)
        self.optimizer = optimizer
        self.clip = clip
        self.clip_value = clip_value
        self.accumulate = accumulate
        self.ranks = ranks
        self.overlaps = overlaps
        self.samples = 0
        self.updates = 0
        self.batches = 0
        self._sums: list[Tensor | None] = [None] * len(self.parameters)
        self._learn = [False] * len(self.parameters)  # which ones have a gradient in the sum that arrives
        self._arriving: Callable[[], Tensor] | None = None

    @property
    def gathers(self) -> bool:
        """Whether a step is made of more than one gradient."""
        return self.accumulate > 1 or self.ranks.world > 1

    def update(self, samples: int) -> None:
        """Take the gradients of a mean over ``samples`` from ``.grad``; step, unless more come first."""
        if not self.gathers:
            self._apply()
            return
        self.samples += samples
        self.updates += 1
        self._gather(samples)
        if self.accumulate == 1:
            self._send()
            if not self.overlaps:
                self.finish()

    def end_batch(self) -> None:
        """Count the batch, and close the group if that completes it."""
        if self.updates and self.accumulate > 1:
            self.batches += 1
            if self.batches >= self.accumulate:
                self._send()

    def finish(self) -> None:
        """Make the step that waits for other ranks, if one does."""
        if self._arriving is None:
            return
        arriving, self._arriving = self._arriving, None
        flat = arriving()
        flat = flat[:-1].div_(flat[-1])
        mine = [p for p, learns in zip(self.parameters, self._learn, strict=True) if learns]
        for parameter, part in zip(mine, torch.split(flat, [p.numel() for p in mine]), strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype)
        self._apply()

    def step(self) -> None:
        """Step with what has been gathered so far; nothing happens where there is nothing."""
        self._send()
        self.finish()

    def _apply(self) -> None:
        for parameter in self.parameters:
            gradient = parameter.grad
            # Fused optimisers go through memory, and pair numbers that have nothing to do with each other.
            if gradient is not None and gradient.stride() != parameter.stride():
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
        if self.clip_value is not None:
            for parameter in self.parameters:
                if parameter.grad is not None:  # torch's own goes over all numbers twice
                    parameter.grad.clamp_(-self.clip_value, self.clip_value)
        if self.clip is not None:
            clip_grad_norm_(self.parameters, self.clip)
        step_alone(self.optimizer)
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What has been gathered and not yet been stepped with."""
        counts = {"samples": self.samples, "updates": self.updates, "batches": self.batches}
        return {**counts, "sums": list(self._sums)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on gathering."""
        self.samples, self.updates = state["samples"], state["updates"]
        self.batches = state["batches"]
        pairs = zip(self.parameters, state["sums"], strict=True)
        self._sums = [None if total is None else total.to(p) for p, total in pairs]

    @staticmethod
    def merged(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The state of one block optimiser in place of several ranks'."""
        gathered = zip(*(state["sums"] for state in states), strict=True)
        by_parameter = [[total for total in of_ranks if total is not None] for of_ranks in gathered]
        return {
            "samples": sum(state["samples"] for state in states),
            "updates": max(state["updates"] for state in states),
            "batches": max(state["batches"] for state in states),
            "sums": [reduce(torch.add, totals) if totals else None for totals in by_parameter],
        }

    @staticmethod
    def emptied(state: Mapping[str, Any]) -> dict[str, Any]:
        """The state without gradients: nothing but the place in a group of batches."""
        return {**state, "samples": 0, "sums": [None] * len(state["sums"])}

    def _gather(self, samples: int) -> None:
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            if not samples:
                parameter.grad.zero_()  # whatever a stand-in has: a number that is none stays one times zero
            total = self._sums[i]
            if total is None:
                self._sums[i] = parameter.grad.mul_(samples)
            else:
                total.add_(parameter.grad, alpha=samples)
            parameter.grad = None

    def _send(self) -> None:
        """Close the group: divide and step, or begin to sum over ranks."""
        self.finish()
        if not self.updates:
            return
        sums, self._sums = self._sums, [None] * len(self.parameters)
        if self.ranks.world == 1:
            for parameter, total in zip(self.parameters, sums, strict=True):
                parameter.grad = None if total is None else total.div_(self.samples)
            self._apply()
        else:
            mine = [total for total in sums if total is not None]
            self._learn = [total is not None for total in sums]
            if mine:
                count = mine[0].new_full((1,), self.samples)  # made there: a copy from here would wait
                self._arriving = self.ranks.begin_sum(torch.cat([*(t.reshape(-1) for t in mine), count]))
        self.samples = self.updates = self.batches = 0
