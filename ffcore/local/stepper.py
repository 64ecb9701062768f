"""One block's optimiser and all that comes between its gradients and its step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import optimizer as hooks

from ffcore.interfaces import Reduce


class OneRank:
    """Sums over a single rank."""

    world = 1

    def sum(self, t: Tensor) -> Tensor:
        """``t`` itself."""
        return t


class Stepper:
    """Reduces over ranks, divides by the number of samples, clips and steps, for one block.

    With one batch on one rank to a step, gradients are used as they are. Otherwise each batch's gradient, of
    a mean over its samples, is added up times its number of samples, and the sum is divided by the number of
    all samples, so that uneven shares give what one large batch would.

    Args:
        parameters: the block's trainable parameters.
        optimizer: the optimiser that holds them.
        clip: largest norm of the block's gradient; None for no limit.
        clip_value: largest size of a single number of it; None for no limit.
        accumulate: updates that are gathered into one step.
        reduce: sums over ranks.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        clip: float | None = None,
        accumulate: int = 1,
        reduce: Reduce | None = None,
        clip_value: float | None = None,
    ) -> None:
        self.parameters = list(parameters)
        self.optimizer = optimizer
        self.clip = clip
        self.clip_value = clip_value
        self.accumulate = accumulate
        self.reduce: Reduce = reduce if reduce is not None else OneRank()
        self.samples = 0
        self.updates = 0
        self._sums: list[Tensor | None] = [None] * len(self.parameters)

    @property
    def _gathers(self) -> bool:
        return self.accumulate > 1 or self.reduce.world > 1

    def update(self, samples: int) -> None:
        """Take the gradients of a mean over ``samples`` from ``.grad``, and step if they complete a group."""
        self.samples += samples
        self.updates += 1
        if self._gathers:
            self._gather(samples)
        if self.updates >= self.accumulate:
            self.step()

    def step(self) -> None:
        """Step with what has been gathered so far; nothing happens where there is nothing."""
        if not self.updates:
            return
        if self._gathers:
            self._average()
        if self.clip_value is not None:
            for parameter in self.parameters:
                if parameter.grad is not None:  # torch's own goes over all numbers twice
                    parameter.grad.clamp_(-self.clip_value, self.clip_value)
        if self.clip is not None:
            clip_grad_norm_(self.parameters, self.clip)
        _step(self.optimizer)
        for parameter in self.parameters:
            parameter.grad = None
        self.samples = self.updates = 0

    def state_dict(self) -> dict[str, Any]:
        """What has been gathered and not yet been stepped with."""
        return {"samples": self.samples, "updates": self.updates, "sums": list(self._sums)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on gathering."""
        self.samples, self.updates = state["samples"], state["updates"]
        pairs = zip(self.parameters, state["sums"], strict=True)
        self._sums = [None if total is None else total.to(p) for p, total in pairs]

    def _gather(self, samples: int) -> None:
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            total = self._sums[i]
            if total is None:
                self._sums[i] = parameter.grad.mul_(samples)
            else:
                total.add_(parameter.grad, alpha=samples)
            parameter.grad = None

    def _average(self) -> None:
        sums, self._sums = self._sums, [None] * len(self.parameters)
        if self.reduce.world == 1:
            for parameter, total in zip(self.parameters, sums, strict=True):
                parameter.grad = None if total is None else total.div_(self.samples)
            return
        # One flat buffer: all gradients and the number of samples travel together. A rank without samples
        # has nothing to add, so that what is missing counts as zero here.
        filled = [torch.zeros_like(p) if t is None else t for p, t in zip(self.parameters, sums, strict=True)]
        count = filled[0].new_tensor([float(self.samples)])
        flat = self.reduce.sum(torch.cat([*(t.reshape(-1) for t in filled), count]))
        flat = flat[:-1].div_(flat[-1])
        for parameter, part in zip(
            self.parameters, torch.split(flat, [t.numel() for t in filled]), strict=True
        ):
            parameter.grad = part.view_as(parameter)


def _step(optimizer: torch.optim.Optimizer) -> None:
    """A step without what torch wraps around it, hooks and a record for its profiler: 40 µs a block.

    Where somebody has hung a hook on it, or written a step of their own, it is the whole step.
    """
    heard = (
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or hooks._global_optimizer_pre_hooks
        or hooks._global_optimizer_post_hooks
        or "step" in vars(optimizer)
    )
    bare = None if heard else _bare_step(cast(Any, type(optimizer)))
    if bare is None:
        optimizer.step()
    else:
        bare(optimizer)


@cache
def _bare_step(kind: Any) -> Callable[[torch.optim.Optimizer], object] | None:
    """The step inside the wrapping, if it is one of torch's own."""
    owner = next(each for each in kind.__mro__ if "step" in vars(each))
    step: Any = vars(owner)["step"]
    wrapped = getattr(step, "hooked", False) and owner.__module__.startswith("torch.optim")
    return step.__wrapped__ if wrapped else None
