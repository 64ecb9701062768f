"""The steps of torch's SGD, Adam and AdamW as formulas of tensors, with their state as tensors.

    g ← g + λ θ                                     weight decay of SGD and Adam
    SGD      m ← μ m + (1 − τ s) g                  s = 0 in the first step, then 1; m starts at 0
             θ ← θ − η m                            with Nesterov θ ← θ − η (g + μ m)
    Adam     m ← m + (1 − β₁)(g − m);  v ← β₂ v + (1 − β₂) g²
             c₁ ← β₁ c₁ + (1 − β₁);  c₂ ← β₂ c₂ + (1 − β₂)         c = 1 − βᵗ after t steps
             θ ← θ − (η √c₂ / c₁) m / (√v + ε √c₂)
    AdamW    θ ← (1 − η λ) θ before it, and no decay in g

θ parameter; g gradient; η learning rate times the factor of the schedule. m, v have the shape of θ; s, c₁, c₂
are scalars. The recursion of c keeps full precision in float32, where 1 − β^t would lose three digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.local.block_optimizer import BlockOptimizer

State = dict[str, Tensor]
"""Optimiser state by name, such as ``"adam/layer.weight/m"``."""


class TracedOptimizer:
    """Takes a block's steps by formulas, in place of its `BlockOptimizer` while a step is traced.

    Args:
        given: the block's optimiser.
        names: name of each of its parameters, in the order of ``given.parameters``.
        where: the block's name, for messages and for the names of the state.

    Raises:
        UserError: when the optimiser is not one of these, or has an option that is not supported.
    """

    def __init__(self, given: BlockOptimizer, names: Sequence[str], where: str) -> None:
        optimizer, kind = given.optimizer, type(given.optimizer)
        if kind not in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
            raise UserError(
                f"export: block {where}: the step of {kind.__name__} cannot be exported; use sgd, adam or "
                "adamw"
            )
        if given.accumulate > 1:
            raise UserError(
                f"export: block {where}: gradients of {given.accumulate} batches are accumulated; export "
                "with accumulate 1 and larger batches"
            )
        self.adaptive = kind is not torch.optim.SGD
        self.decoupled = kind is torch.optim.AdamW
        self.clip, self.clip_value = given.clip, given.clip_value
        self.where = where
        self.names = list(names)
        self._optimizer = optimizer
        groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        self.options: list[Mapping[str, Any]] = [groups[id(p)] for p in given.parameters]
        for options in self.options:
            if not base_rate(options):
                raise UserError(
                    f"export: block {where}: the learning rate is 0, as at the end of a schedule; make new "
                    "optimisers, or set the rate from which a device should learn"
                )
            for refused in ("maximize", "amsgrad"):
                if options.get(refused):
                    raise UserError(f"export: block {where}: {refused} of {kind.__name__} cannot be exported")
        self._given = list(given.parameters)
        self._parameters: list[Tensor] = []
        self._state: State = {}
        self._factor: Tensor | None = None

    # -- state ----------------------------------------------------------------------------------------

    def state(self) -> State:
        """Return copies of the state that torch's optimiser has now; zeros before its first step."""
        made: State = {}
        for name, parameter, options in zip(self.names, self._given, self.options, strict=True):
            held = self._optimizer.state.get(parameter, {})
            if self.adaptive:
                made[f"optimizer/{name}/m"] = _copy(held.get("exp_avg"), parameter)
                made[f"optimizer/{name}/v"] = _copy(held.get("exp_avg_sq"), parameter)
                steps = float(held.get("step", 0))
                for i, beta in enumerate(options["betas"], 1):
                    made[f"optimizer/{name}/c{i}"] = torch.tensor(1 - beta**steps)
            elif options["momentum"]:
                buffer = held.get("momentum_buffer")
                made[f"optimizer/{name}/m"] = _copy(buffer, parameter)
                made[f"optimizer/{name}/s"] = torch.tensor(float(buffer is not None))
        return made

    def bind(self, parameters: Mapping[str, Tensor], state: State, factor: Tensor) -> None:
        """Set the tensors of the trace: parameters and state are changed in place.

        Args:
            parameters: by name.
            state: as returned by `state`.
            factor: () the factor of the learning-rate schedule.
        """
        self._parameters = [parameters[name] for name in self.names]
        self._state, self._factor = state, factor

    # -- the interface that a pass uses -----------------------------------------------------------------

    def finish(self) -> None:
        """Nothing waits: there is one rank."""

    def end_batch(self) -> None:
        """Nothing is accumulated."""

    @torch.no_grad()
    def update(self, samples: int) -> None:
        """Take a step with the gradients in ``.grad``."""
        with_gradient = [p for p in self._parameters if p.grad is not None]
        if not with_gradient:
            return
        if self.clip_value is not None:
            for p in with_gradient:
                p.grad = p.grad.clamp(-self.clip_value, self.clip_value) if p.grad is not None else None
        if self.clip is not None:
            squares = [p.grad.square().sum() for p in with_gradient if p.grad is not None]
            norm = torch.stack(squares).sum().sqrt()
            scale = (self.clip / (norm + 1e-6)).clamp(max=1.0)
            for p in with_gradient:
                p.grad = None if p.grad is None else p.grad * scale
        for name, p, options in zip(self.names, self._parameters, self.options, strict=True):
            if p.grad is not None:
                step = self._adam if self.adaptive else self._sgd
                step(name, p, p.grad, options)
            p.grad = None

    def _rate(self, options: Mapping[str, Any]) -> Tensor:
        """Return η, the rate before any schedule times the factor."""
        assert self._factor is not None
        return self._factor * base_rate(options)

    def _sgd(self, name: str, p: Tensor, g: Tensor, options: Mapping[str, Any]) -> None:
        rate, momentum = self._rate(options), options["momentum"]
        if options["weight_decay"]:
            g = g + options["weight_decay"] * p
        if momentum:
            begun, m = self._state[f"optimizer/{name}/s"], self._state[f"optimizer/{name}/m"]
            share = 1 - options["dampening"] * begun if options["dampening"] else 1.0
            m.copy_(momentum * m + share * g)
            begun.copy_(torch.ones_like(begun))
            g = g + momentum * m if options["nesterov"] else m
        p.copy_(p - rate * g)

    def _adam(self, name: str, p: Tensor, g: Tensor, options: Mapping[str, Any]) -> None:
        rate, decay = self._rate(options), options["weight_decay"]
        beta1, beta2 = options["betas"]
        if decay and self.decoupled:
            p.copy_(p * (1 - rate * decay))
        elif decay:
            g = g + decay * p
        m, v = self._state[f"optimizer/{name}/m"], self._state[f"optimizer/{name}/v"]
        m.copy_(m + (1 - beta1) * (g - m))
        v.copy_(beta2 * v + (1 - beta2) * (g * g))
        c1, squared = (self._state[f"optimizer/{name}/c{i}"] for i in (1, 2))
        c1.copy_(beta1 * c1 + (1 - beta1))
        squared.copy_(beta2 * squared + (1 - beta2))
        c2 = squared.sqrt()
        # scalars first: each operation on the weights is a pass through memory
        p.copy_(p - (rate * c2 / c1) * (m / (v.sqrt() + options["eps"] * c2)))


def base_rate(options: Mapping[str, Any]) -> float:
    """Return the learning rate of a parameter group before ffcore's schedule, or torch's, has scaled it."""
    return float(options.get("base_lr", options.get("initial_lr", options["lr"])))


class TracedOptimizers:
    """The traced optimisers of a network, by block name; has what `LocalNetwork` reads of `BlockOptimizers`.

    Args:
        blocks: the optimisers.
    """

    def __init__(self, blocks: Mapping[str, TracedOptimizer]) -> None:
        self.blocks = dict(blocks)

    def __iter__(self) -> Iterator[TracedOptimizer]:
        return iter(self.blocks.values())

    def state(self) -> State:
        """Return the state of all blocks."""
        return {name: value for each in self for name, value in each.state().items()}

    def bind(self, parameters: Mapping[str, Tensor], state: State, factor: Tensor) -> None:
        """Set the tensors of the trace for all blocks."""
        for each in self:
            each.bind(parameters, state, factor)


def _copy(value: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like, requires_grad=False) if value is None else value.detach().clone()
