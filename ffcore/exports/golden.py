"""The golden step of a bundle: one step that torch has taken, and what it gave.

Adam divides by the root of its running mean of squares. In its first step that is the gradient itself: a
rounding error of a gradient near zero changes a weight by a part of the learning rate. The golden step
therefore begins from a state of optimisers that have run; see `fill`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.exports.bundle import sampled
from ffcore.exports.onnx import session_of
from ffcore.exports.optimizers import base_rate
from ffcore.exports.random import DropoutFrom, Noting
from ffcore.exports.step import LearningStep, copied
from ffcore.interfaces import Progress
from ffcore.local.optimizers import BlockOptimizers
from ffcore.network import Network

TOLERANCE = 1e-5
"""Largest difference between engines, relative to 1 + the largest |value| of a tensor."""

LIMIT = 1e-3
"""A larger difference is an error. Rounding may make a small one: the sign of a relu may flip."""

_STEPS, _MEAN, _SQUARE = 693.0, 0.02, 0.01  # steps that Adam has made, and its running means


def warmed(step: LearningStep) -> dict[str, Tensor]:
    """Return the state of a step whose optimisers have run."""
    state = {name: value.clone() for name, value in step.state.items()}
    for name, number in fill(step).items():
        state[name].fill_(number)
    return state


def fill(step: LearningStep) -> dict[str, float]:
    """Return the values of the state of adaptive optimisers that have run, by name."""
    made: dict[str, float] = {}
    for each in step.optimizers:
        if each.adaptive:
            made |= {f"optimizer/{name}/v": _SQUARE for name in each.names}
            made |= {f"optimizer/{name}/m": _MEAN for name in each.names}
            for name, options in zip(each.names, each.options, strict=True):
                for i, beta in enumerate(options["betas"], 1):
                    made[f"optimizer/{name}/c{i}"] = 1 - beta**_STEPS
    return {name: float(torch.tensor(value)) for name, value in made.items()}


def golden(step: LearningStep, x: Tensor, y: Tensor, seed: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arrays of the golden step, and its whole new state.

    Args:
        step: the learning step.
        x: (N, *shape) samples.
        y: (N,) targets.
        seed: seed of the random numbers.
    """
    rng = Noting(x.shape[0], seed)
    rate = torch.tensor(0.5)
    after, losses = step.run(x, y, rate, warmed(step), rng)
    arrays: dict[str, Any] = {"x": x.numpy(), "y": y.numpy(), "rate": rate.numpy()}
    arrays |= {draw.name: value.numpy() for draw, value in rng.noted.items()}
    arrays |= {f"loss/{name}": value.double().numpy() for name, value in losses.items()}
    arrays |= {f"new/{name}": sampled(value) for name, value in after.items()}
    return arrays, after


def refuse_difference(
    net: Network,
    optimizers: BlockOptimizers | None,
    progress: Progress,
    step: LearningStep,
    x: Tensor,
    y: Tensor,
) -> None:
    """Raise if the step differs from that of `Network.learn` with torch's own optimisers.

    Raises:
        UserError: with the state that differs most.
    """
    own = copied(net, optimizers)
    _warm(own.local.optimizers)
    for each in own.local.optimizers or ():
        for group in each.optimizer.param_groups:
            group["lr"] = base_rate(group)
    own.advance(progress)
    after, _ = step.run(x, y, torch.ones(()), warmed(step), Noting(x.shape[0], own.seed, own.batches))
    batch = own.batch(x, y, own.seed, own.batches)
    before = {name: value.clone() for name, value in own.state_dict().items() if isinstance(value, Tensor)}
    with DropoutFrom(batch.random()):
        own.algorithm.learn(batch, own.local)
    own.local.end_batch()
    real = own.state_dict()
    differences = {
        name: _relative(value, real[name], before[name])
        for name, value in after.items()
        if name in before and value.numel()
    }
    worst = max(differences, key=lambda name: differences[name], default=None)
    if worst is not None and not differences[worst] <= LIMIT:
        raise UserError(
            f"export: the exported step differs from torch's by {differences[worst]:.1e} in {worst}; it may "
            "draw random numbers of its own, or have a state that is not in its state dict"
        )


def _relative(value: Tensor, real: Tensor, before: Tensor) -> float:
    """Return the difference of a new value from the real one, as a share of how far the real one moved."""
    value, real, before = value.double(), real.double(), before.double()
    moved = (real - before).abs().max() + 1e-3 * real.abs().max() + 1e-9
    return float((value - real).abs().max() / moved)


def engine(models: Sequence[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ONNX Runtime makes of the graphs of a step, in order, beside the given values."""
    made = dict(values)
    for model in models:
        session = session_of(model)
        feeds = {given.name: made[given.name] for given in session.get_inputs()}
        names = [each.name for each in session.get_outputs()]
        made |= dict(zip(names, session.run(names, feeds), strict=True))
    return made


def difference(made: Mapping[str, Any], after: Mapping[str, Tensor], taken: Mapping[str, Any]) -> float:
    """Return the largest difference between ONNX Runtime and torch after the golden step.

    Args:
        made: what ONNX Runtime has made.
        after: the new state that torch has made.
        taken: arrays of the golden step, with the losses.

    Raises:
        UserError: when it is larger than rounding can explain, with the value that differs most.
    """
    right = {f"new/{name}": value.double().numpy() for name, value in after.items()}
    right |= {name: value for name, value in taken.items() if name.startswith("loss/")}
    differences = {
        name: float(np.max(np.abs(made[name] - value), initial=0) / (1 + np.max(np.abs(value), initial=0)))
        for name, value in right.items()
        if name in made
    }
    worst = max(differences, key=lambda name: differences[name])
    if not differences[worst] <= LIMIT:
        raise UserError(
            f"export: ONNX Runtime and torch differ by {differences[worst]:.1e} in {worst} after one "
            "learning step; only the prediction of this network can be exported"
        )
    return differences[worst]


def _warm(optimizers: BlockOptimizers | None) -> None:
    for each in optimizers or ():
        for group in each.optimizer.param_groups:
            for parameter in group["params"] if "betas" in group else ():
                state: Mapping[str, Any] = {
                    "step": torch.tensor(_STEPS),
                    "exp_avg": torch.full_like(parameter, _MEAN),
                    "exp_avg_sq": torch.full_like(parameter, _SQUARE),
                }
                each.optimizer.state[parameter] = dict(state)
