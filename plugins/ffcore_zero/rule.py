"""Learning from losses alone: the slope along random directions in place of the gradient.

    g_m = (L(w + ε d_m) − L(w − ε d_m)) / 2ε
    ∂w  = n/M Σ_m g_m d_m                     its mean over directions is the gradient, up to O(ε²)

w (n,) the parameters that are changed together: those of a block, or of one channel; d_m (n,) uniform on
the unit sphere, for which the mean of n d dᵀ is the identity; M directions; ε the length of a change; L the
local loss. If the losses of C channels depend on the channel's own parameters only, the same two passes
measure all of them: then w and d_m are (C, n), L and g_m (C,).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Block, Context, LearningRule, Out, Progress, Views, dense
from ffcore.interfaces.batch_rng import mix
from ffcore.interfaces.network import Handoff
from ffcore.interfaces.rule import Call
from ffcore.options import Count, Positive
from ffcore_zero.losses import ChannelLoss

HALF = (torch.bfloat16, torch.float16)
MANY = 1_000_000
"""Number of weights a direction above which the rule warns."""


class Directional(LearningRule):
    """Estimates the gradient of a block's loss from two forward passes with changed weights.

    The rule of FFzero (Guo et al. 2026, arXiv:2603.24790). It needs no derivative of the body, the goodness
    or the loss, so that a block may contain anything that runs with given weights: hardware, another
    process. The block's optimiser steps with the estimate as with a gradient; the authors use plain gradient
    descent. The estimate's variance is about n/M times the gradient's square. The two passes have the same
    dropout, run without autocast, and leave parameters, running statistics and random numbers as they were.

    Args:
        epsilon: ε, in units of the weights. A change of a single weight is about ε/√n. It should be seen
            through noise and rounding.
        directions: M, directions of a step. Each needs two passes.
        per: "block": all parameters of the block are changed along one direction; "channel": those of each
            channel along a direction of its own, with a loss that is a sum over channels, such as
            `channel-hinge`, and a body in which a channel depends on its own parameters only.

    Raises:
        UserError: when the block has no loss, or no loss of channels.
    """

    alone: ClassVar[bool] = True
    seed: Tensor

    def __init__(
        self, epsilon: Positive = 1e-3, directions: Count = 1, per: Literal["block", "channel"] = "block"
    ) -> None:
        super().__init__()
        self.epsilon, self.directions, self.per = epsilon, directions, per
        # of torch's random numbers, which a recipe seeds: every rank has the same
        self.register_buffer("seed", torch.randint(2**31, ()))
        self._depth = self._step = self._calls = 0
        self._warned = False

    def setup(self, context: Context) -> None:
        """Keep the depth: copies of a rule take other directions in other blocks."""
        self._depth = context.depth

    def advance(self, progress: Progress) -> None:
        """Keep the step, which directions depend on."""
        self._step, self._calls = progress.step, 0

    def run(self, block: Block, inputs: tuple[Tensor, ...], views: Views, handoff: Handoff) -> Out:
        """Run the block without a graph."""
        with torch.no_grad():
            return block.make(inputs, views, handoff=handoff)

    @torch.no_grad()
    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """Set ``.grad`` to the estimate; see `ffcore.interfaces.LearningRule.learn`.

        Ranks estimate from their own samples along the same directions. The estimate is linear in the loss:
        the mean over ranks, which the block optimiser takes, is the estimate of the global batch.

        Raises:
            UserError: see the class.
        """
        block, _, out = window[-1]
        where = f"block {block.name}: rule directional"
        # with grad mode on, so that penalties move their running means; the activity has no graph
        with torch.enable_grad():
            terms = {name: term.detach() for name, term in block.losses(out, views).items()}
        if not terms:
            raise UserError(f"{where}: the block has no loss; give it an objective or a loss")
        channels = len(self._losses(block, out, views)) if self.per == "channel" else 1
        parameters = self._learning(block, channels, where)
        rows = sum(p.numel() for p in parameters) // channels
        self._warn(rows, where)

        like: dict[str, Any] = {"dtype": parameters[0].dtype, "device": parameters[0].device}
        random = self._random(parameters[0].device)
        estimate = torch.zeros(channels, rows, **like)
        with _restored(cast(nn.Module, block), parameters) as change:
            for _ in range(self.directions):
                d = torch.randn(estimate.shape, generator=random, **like)
                d *= self.epsilon / d.norm(dim=1, keepdim=True)
                change(d)
                up = self._measured(window[-1], views)
                change(-d)
                down = self._measured(window[-1], views)
                estimate += (up - down).unsqueeze(1) * d
        estimate *= rows / (2 * self.epsilon**2 * self.directions)
        for parameter, gradient in zip(parameters, _parts(estimate, parameters), strict=True):
            made = gradient.to(parameter.dtype)
            parameter.grad = made if parameter.grad is None else parameter.grad + made
        return [terms]

    def _measured(self, call: Call, views: Views) -> Tensor:
        """Return the losses (C,) of a further pass, with the random numbers of every other one."""
        block, inputs, out = call
        device = inputs[0].device
        seeded = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        # bfloat16 would round the change away
        with seeded, torch.autocast(device.type, enabled=False):
            made = block.make(tuple(map(_full, inputs)), views, handoff="unused")
            made.upstream = out.upstream
            return self._losses(block, made, views)

    def _losses(self, block: Block, out: Out, views: Views) -> Tensor:
        """Return the losses of the channels (C,), or that of the block (1,)."""
        if self.per == "block":
            return torch.stack([*block.losses(out, views).values()]).sum().unsqueeze(0)
        loss = getattr(block, "loss", None)
        if not isinstance(loss, ChannelLoss):
            raise UserError(
                f"block {block.name}: rule directional: per: channel needs a loss that is a sum over "
                f"channels, such as channel-hinge, not {type(loss).__name__}; use per: block"
            )
        return loss.of_channels(out, block, views)

    def _learning(self, block: Block, channels: int, where: str) -> list[nn.Parameter]:
        """Return the parameters that learn; they need a row for each channel."""
        named = [(name, p) for name, p in cast(nn.Module, block).named_parameters() if p.requires_grad]
        for name, parameter in named:
            if channels > 1 and parameter.shape[:1] != (channels,):
                raise UserError(
                    f"{where}: {name} has the shape {tuple(parameter.shape)}; per: channel needs a row for "
                    f"each of {channels} channels; use per: block"
                )
            if parameter.dtype in HALF:
                raise UserError(
                    f"{where}: {name} is {parameter.dtype}, which would round a small change away; keep the "
                    "weights in float32, and use trainer.precision=bf16-mixed"
                )
        return [parameter for _, parameter in named]

    def _random(self, device: torch.device) -> torch.Generator:
        """Return the random numbers of this call, equal on all ranks."""
        key = mix(int(self.seed), self._depth, self._step, self._calls)
        self._calls += 1
        return torch.Generator(device).manual_seed(key)

    def _warn(self, weights: int, where: str) -> None:
        if weights > MANY * self.directions and not self._warned:
            self._warned = True
            warnings.warn(
                f"{where}: {weights:,} weights learn from directions: {self.directions}; the variance of the "
                "estimate grows with their number: use smaller layers, more directions or per: channel",
                stacklevel=2,
            )


@contextmanager
def _restored(block: nn.Module, parameters: Sequence[Tensor]) -> Iterator[Callable[[Tensor], None]]:
    """Within the context parameters may change; at its end they, and all buffers, are as before, to the bit.

    Yields a function that adds a change (C, n) to the initial parameters, and restores the buffers, such as
    running statistics, which every pass should begin with.
    """
    before = [parameter.clone() for parameter in parameters]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in block.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]

    def restore_buffers() -> None:
        for module, name, buffer, value in buffers:
            buffer.copy_(value)
            if getattr(module, name) is not buffer:  # a pass has replaced it
                setattr(module, name, buffer)

    def change(by: Tensor) -> None:
        restore_buffers()
        for parameter, value, part in zip(parameters, before, _parts(by, parameters), strict=True):
            torch.add(value, part, out=parameter)

    try:
        yield change
    finally:
        for parameter, value in zip(parameters, before, strict=True):
            parameter.copy_(value)
        restore_buffers()


def _parts(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return the rows (C, n) as tensors of the shapes of the parameters."""
    parts = torch.split(flat, [parameter.numel() // len(flat) for parameter in like], dim=1)
    return [part.reshape(parameter.shape) for part, parameter in zip(parts, like, strict=True)]


def _full(x: Tensor) -> Tensor:
    """Return an input in single precision or better."""
    return dense(x).float() if x.dtype in HALF else x
