"""Local gradients beside those of backpropagation: the cosine between them, for each block.

    g_b = gradient of block b that a step of learning leaves for its optimiser
    G_b = ∂L/∂θ_b of the global loss L through all blocks (`ffcore.analysis.loss`), as of backpropagation
    cosine_b = g_b · G_b / (‖g_b‖ ‖G_b‖),  its mean and standard deviation over batches

Both are taken at the same weights, on the same batches, in evaluation mode: without dropout, and with the
running statistics of normalisations. They contain the parameters θ_b that have both gradients, so that a head
which only the local loss reads does not count. The step runs on a copy; the network, its optimisers and its
random numbers do not change.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from ffcore.analysis.loss import attached_scores, global_loss, refuse_other_tasks, temperature
from ffcore.analysis.measures import cosine
from ffcore.blame import reported
from ffcore.build.copied import copied, plan_all
from ffcore.errors import FOREIGN, UserError
from ffcore.interfaces.batch_rng import mix
from ffcore.interfaces.modes import evaluating
from ffcore.local import BlockOptimizer, BlockOptimizers, LocalBlock
from ffcore.network import Network
from ffcore.report.analysis_record import BlockCosine, GradientCosines

Gradients = Mapping[str, Mapping[str, Tensor]]
"""By the name of the block, then of the parameter within it."""

Pairs = Sequence[tuple[Tensor, Tensor]]
"""Samples (N, *shape) and classes (N,) of each batch."""

_SEED = 0x636F73
"""Mixed into the seed, so that negatives are others than in training."""


def cosines(net: Network, batches: Pairs, names: Iterable[str], split: str = "given") -> GradientCosines:
    """Return the cosines between local gradients and those of the global loss.

    Args:
        net: the network.
        batches: samples and classes of each batch.
        names: the blocks.
        split: where the batches come from.

    Returns:
        Without blocks, and with the reason, if the network has none.
    """
    about: dict[str, Any] = {
        "split": split,
        "batches": len(batches),
        "batch_size": max((len(y) for _, y in batches), default=1),
    }
    try:
        refuse_other_tasks(net)
        with evaluating(net), torch.no_grad():
            t = temperature(net, torch.cat([net.combine(net.measure(x)) for x, _ in batches]))
        through = [backprop_gradients(net, x, y, t) for x, y in batches]
    except FOREIGN as error:
        return GradientCosines(**about, temperature=None, reason=_why(error))
    try:
        local = local_gradients(net, batches)
    except FOREIGN as error:
        reason = f"a step of learning in evaluation mode failed: {_why(error)}"
        return GradientCosines(**about, temperature=None, reason=reason)
    made = []
    for name in names:
        pairs = [(own.get(name, {}), all_of[name]) for own, all_of in zip(local, through, strict=True)]
        values = [value for value in (_cosine(*pair) for pair in pairs) if not math.isnan(value)]
        made.append(_mean(name, values) if values else _none(name, net.local.learners[name], *pairs[0]))
    return GradientCosines(**about, temperature=t, blocks=tuple(made))


def backprop_gradients(net: Network, x: Tensor, y: Tensor, t: float = 1.0) -> dict[str, dict[str, Tensor]]:
    """Return ∂L/∂θ of each block, for parameters that L depends on.

    Args:
        net: the network; it does not change.
        x: (N, *shape) samples.
        y: (N,) classes.
        t: T of the global loss.

    Raises:
        UserError: no graph leads through the network.
    """
    named = {
        (name, key): parameter
        for name, block in net.local.learners.items()
        for key, parameter in block.named_parameters()
        if parameter.requires_grad
    }
    if not named:
        raise UserError("no block has parameters that learn")
    with evaluating(net), torch.enable_grad():
        loss = global_loss(attached_scores(net, x), y, t)
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    made: dict[str, dict[str, Tensor]] = {name: {} for name in net.local.learners}
    for (name, key), gradient in zip(named, found, strict=True):
        if gradient is not None:
            made[name][key] = gradient
    return made


def local_gradients(net: Network, batches: Pairs) -> list[dict[str, dict[str, Tensor]]]:
    """Return the gradients that a step of learning leaves for the optimisers, of each batch.

    Args:
        net: the network; a copy of it learns, in evaluation mode, and its optimisers only collect.
        batches: samples and classes of each batch.

    Returns:
        For each batch the gradients of all blocks that have any. Those of several calls are added up.
    """
    made = []
    with warnings.catch_warnings(), torch.random.fork_rng([]), torch.enable_grad():
        warnings.simplefilter("ignore")
        own, _ = copied(net, None)
        plan_all(own)
        for part in (own, *own.local.learners.values()):
            part.eval()
        for number, (x, y) in enumerate(batches):
            caught = Caught(own.local.learners)
            own.local.optimizers = caught
            torch.manual_seed(mix(net.seed, _SEED, number))
            own.algorithm.learn(own.batch(x, y, mix(net.seed, _SEED), number), own.local)
            made.append(caught.gradients)
    return made


class Caught(BlockOptimizers):
    """Optimisers that keep gradients and do not step.

    Args:
        learners: the blocks by name.

    Attributes:
        gradients: sums of the gradients of each block, for the blocks that have been updated.
    """

    def __init__(self, learners: Mapping[str, LocalBlock]) -> None:
        self.gradients: dict[str, dict[str, Tensor]] = {}
        self.network = None
        self.blocks = {n: cast(BlockOptimizer, _Catch(self, n, block)) for n, block in learners.items()}


class _Catch:
    """In place of the optimiser of one block."""

    accumulate = 1
    gathers = False

    def __init__(self, caught: Caught, name: str, block: LocalBlock) -> None:
        self.caught, self.name, self.block = caught, name, block

    def update(self, samples: int) -> None:
        """Take the gradients."""
        kept = self.caught.gradients.setdefault(self.name, {})
        for key, parameter in self.block.named_parameters():
            if parameter.grad is not None:
                kept[key] = parameter.grad if key not in kept else kept[key] + parameter.grad
                parameter.grad = None

    def finish(self) -> None:
        """Nothing waits."""

    step = end_batch = finish


def _cosine(own: Mapping[str, Tensor], of_loss: Mapping[str, Tensor]) -> float:
    both = [key for key in own if key in of_loss]
    if not both:
        return math.nan
    return cosine(*(torch.cat([of[key].flatten().double() for key in both]) for of in (own, of_loss)))


def _mean(name: str, values: Sequence[float]) -> BlockCosine:
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / len(values)
    return BlockCosine(name=name, cosine=max(-1.0, min(1.0, mean)), deviation=math.sqrt(variance))


def _none(
    name: str, block: LocalBlock, own: Mapping[str, Tensor], of_loss: Mapping[str, Tensor]
) -> BlockCosine:
    return BlockCosine(name=name, cosine=None, deviation=None, reason=_missing(block, own, of_loss))


def _missing(block: LocalBlock, own: Mapping[str, Tensor], of_loss: Mapping[str, Tensor]) -> str:
    if not block.trainable:
        return "it has no parameters that learn"
    if not own:
        return f"the rule {type(block.rule).__name__} left no gradient for its optimiser"
    if not of_loss:
        return "the class scores do not depend on its parameters"
    if not any(key in of_loss for key in own):
        return "no parameter has both gradients"
    return "one of its gradients is zero"


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, UserError) else reported(error)
