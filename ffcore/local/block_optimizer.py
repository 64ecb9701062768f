"""The optimiser of one block, with accumulation, the sum over ranks and clipping.

With gradients g_b of batch means over n_b samples each, one step uses Σ_b n_b g_b / Σ_b n_b. The sum runs
over the accumulated batches and over the ranks.
"""

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
    """Sums gradients over batches and ranks, divides by the number of samples, clips and steps.

    If a step has one batch on one rank, the gradients are used unchanged. Otherwise each gradient is weighted
    by its number of samples, so the result is that of one large batch even if the batches have different
    sizes. All gradients of a block and the number of samples are sent in one tensor, while the next block
    runs. A parameter that has a gradient on some of the ranks only counts as zero on the others.

    Args:
        parameters: the block's trainable parameters.
        optimizer: the torch optimiser of these parameters.
        clip: maximum norm of the block's gradient; None for no limit.
        clip_value: maximum absolute value of an element of the gradient; None for no limit.
        accumulate: number of batches per step.
        ranks: the ranks that share each batch.
        overlaps: whether a step that waits for other ranks may be delayed until the block's next call. False
            if other blocks read the block's parameters.
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
        self._learn = [False] * len(self.parameters)  # which parameters have a gradient in the pending sum
        self._arriving: Callable[[], Tensor] | None = None

    @property
    def gathers(self) -> bool:
        """Whether a step combines several gradients."""
        return self.accumulate > 1 or self.ranks.world > 1

    def update(self, samples: int) -> None:
        """Take the gradients of a mean over ``samples`` from ``.grad``; step if the group is complete."""
        if not self.gathers:
            if samples:
                self._apply()
            else:  # a batch without targets: as in accumulation and on several ranks, there is no step
                self.optimizer.zero_grad()
            return
        self.samples += samples
        self.updates += 1
        self._gather(samples)
        if self.accumulate == 1:
            self._send()
            if not self.overlaps:
                self.finish()

    def end_batch(self) -> None:
        """Count the batch; step if it completes a group of ``accumulate`` batches."""
        if self.updates and self.accumulate > 1:
            self.batches += 1
            if self.batches >= self.accumulate:
                self._send()

    def finish(self) -> None:
        """Wait for the pending sum over ranks, if any, and step."""
        if self._arriving is None:
            return
        arriving, self._arriving = self._arriving, None
        sizes = [p.numel() for p in self.parameters]
        *parts, ranks, samples = torch.split(arriving(), [*sizes, len(sizes), 1])
        # Reading from a GPU waits for it, so only a rank that lacks a gradient asks whether another has it.
        learn = self._learn if all(self._learn) else [count > 0 for count in ranks.tolist()]
        for parameter, part, learns in zip(self.parameters, parts, learn, strict=True):
            if learns:
                part.div_(samples.clamp_min(1))  # samples or targets
                parameter.grad = part.view_as(parameter).to(parameter.dtype)
        self._apply()

    def step(self) -> None:
        """Step with the gradients gathered so far, if any."""
        self._send()
        self.finish()

    def _apply(self) -> None:
        for parameter in self.parameters:
            gradient = parameter.grad
            if gradient is not None and gradient.stride() != parameter.stride():
                parameter.grad = _laid_out_as(parameter, gradient)
        if self.clip_value is not None:
            for parameter in self.parameters:
                if parameter.grad is not None:  # torch's clip_grad_value_ goes over the gradient twice
                    parameter.grad.clamp_(-self.clip_value, self.clip_value)
        if self.clip is not None:
            clip_grad_norm_(self.parameters, self.clip)
        step_alone(self.optimizer)
        if torch.is_autocast_enabled(self.parameters[0].device.type):
            torch.clear_autocast_cache()  # it holds casts of the old weights
        for parameter in self.parameters:
            parameter.grad = None

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Restore the state of the torch optimiser, in the memory layout of the parameters.

        A state that has been sent between ranks, or saved on another device, may have another layout.
        """
        self.optimizer.load_state_dict(state)
        for parameter, of_parameter in self.optimizer.state.items():
            for key, value in of_parameter.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    of_parameter[key] = _laid_out_as(parameter, value)

    def state_dict(self) -> dict[str, Any]:
        """Return the gradients that have been gathered since the last step, and their counts."""
        counts = {"samples": self.samples, "updates": self.updates, "batches": self.batches}
        return {**counts, "sums": list(self._sums)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore gathered gradients and counts."""
        self.samples, self.updates = state["samples"], state["updates"]
        self.batches = state["batches"]
        pairs = zip(self.parameters, state["sums"], strict=True)
        self._sums = [None if total is None else total.to(p) for p, total in pairs]

    @staticmethod
    def merged(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the state that one rank has in place of several."""
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
        """Return the state without gradients, with the same position in the group of batches."""
        return {**state, "samples": 0, "sums": [None] * len(state["sums"])}

    def _gather(self, samples: int) -> None:
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            if not samples:  # a placeholder batch must not count, nor give a parameter a gradient
                parameter.grad = None
                continue
            total = self._sums[i]
            if total is None:
                self._sums[i] = parameter.grad.mul_(samples)
            else:
                total.add_(parameter.grad, alpha=samples)
            parameter.grad = None

    def _send(self) -> None:
        """Complete the group: divide and step, or begin the sum over ranks."""
        self.finish()
        if not self.updates:
            return
        sums, self._sums = self._sums, [None] * len(self.parameters)
        if self.ranks.world == 1:
            for parameter, total in zip(self.parameters, sums, strict=True):
                parameter.grad = None if total is None else total.div_(max(1, self.samples))
            self._apply()
        else:
            # All ranks send as many elements: gradients, on how many ranks each exists, number of samples.
            own = [
                torch.zeros_like(parameter) if total is None else total
                for parameter, total in zip(self.parameters, sums, strict=True)
            ]
            self._learn = [total is not None for total in sums]
            counts = own[0].new_ones(len(own) + 1)  # filled on the device: a copy would wait for it
            counts[-1] = self.samples
            for i, learns in enumerate(self._learn):
                if not learns:
                    counts[i] = 0
            self._arriving = self.ranks.begin_sum(*own, counts)
        self.samples = self.updates = self.batches = 0


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a tensor with the strides of a parameter.

    Fused optimisers go through the memory of all tensors in order: other strides would pair wrong elements.
    """
    if value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
