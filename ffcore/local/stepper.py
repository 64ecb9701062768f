"""One block's optimiser and all that comes between its gradients and its step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from ffcore.interfaces import Reduce


class OneRank:
    """Sums over a single rank."""

    world = 1

    def sum(self, t: Tensor) -> Tensor:
        """``t`` itself."""
        return t


class Stepper:
    """Reduces over ranks, divides by the number of samples, clips and steps, for one block.

    Gradients of several batches (``accumulate``) or ranks are sums over samples until they are divided by
    the number of all samples, so that uneven shares give what one large batch would.

    Args:
        parameters: the block's trainable parameters.
        optimizer: the optimiser that holds them.
        clip: largest norm of the block's gradient; None for no limit.
        accumulate: batches per step.
        reduce: sums over ranks.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        clip: float | None = None,
        accumulate: int = 1,
        reduce: Reduce | None = None,
    ) -> None:
        self.parameters = list(parameters)
        self.optimizer = optimizer
        self.clip = clip
        self.accumulate = accumulate
        self.reduce: Reduce = reduce if reduce is not None else OneRank()
        self.samples = 0
        self.batches = 0

    @property
    def _sums(self) -> bool:
        return self.accumulate > 1 or self.reduce.world > 1

    def scale(self, samples: int) -> float:
        """What a mean loss over ``samples`` is multiplied by, see `ffcore.interfaces.Block.scale`."""
        return float(samples) if self._sums else 1.0

    def update(self, samples: int) -> None:
        """Count a batch whose gradients have been added, and step if it completes a group."""
        self.samples += samples
        self.batches += 1
        if self.batches >= self.accumulate:
            self.step()

    def step(self) -> None:
        """Step with what has been added up so far; nothing happens where there is nothing."""
        if not self.batches:
            return
        if self._sums:
            self._average()
        if self.clip is not None:
            clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.samples = self.batches = 0

    def _average(self) -> None:
        # One flat buffer: all gradients and the number of samples travel together.
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        if self.reduce.world == 1:
            for p, grad in zip(self.parameters, grads, strict=True):
                p.grad = grad.div_(self.samples)
            return
        count = grads[0].new_tensor([float(self.samples)])
        flat = self.reduce.sum(torch.cat([*(g.reshape(-1) for g in grads), count]))
        flat = flat[:-1].div_(flat[-1])
        for p, part in zip(self.parameters, torch.split(flat, [g.numel() for g in grads]), strict=True):
            p.grad = part.view_as(p)
