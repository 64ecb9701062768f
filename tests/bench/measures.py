"""Measurements besides steps in the trainer: prediction, data, single optimisations, memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from real import images, recipe
from torch import Tensor, nn
from turns import Times, alternate, loop

from ffcore.build.assemble import assemble
from ffcore.data.loader import DeviceLoader
from ffcore.engine.module import ForwardOnly
from ffcore.interfaces import Batch, BatchRNG, Context, Views
from ffcore.interfaces import dense as as_dense
from ffcore.local import block_optimizers as optimizers_of
from ffcore.testing.memory import kept_for_backward
from ffcore.testing.scenery import by_autograd
from ffcore_ff.images import Hybrid
from ffcore_std.augmentations import Shift

N, SHAPE, K = 100, (1, 28, 28), 10


def built(units: Sequence[int], **changes: Any) -> ForwardOnly:
    module = assemble(recipe(units, **changes), SHAPE, K)
    module.configure_optimizers()
    return module


def without_closed_forms(module: ForwardOnly) -> ForwardOnly:
    by_autograd(module.network)
    return module


class Densified(nn.Module):
    """A body that gets a dense tensor instead of a labelled input."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(as_dense(x))

    def add_gradients(self, x: Tensor, activity: Tensor, up: Tensor) -> None:
        self.body.add_gradients(as_dense(x), activity, up)


def own_loop(units: Sequence[int]) -> Callable[[], None]:
    """A step of level 1: `Network.learn` on a prepared batch, as a user writes it."""
    net = assemble(recipe(units), SHAPE, K).net
    net.local.record = None
    net.local.observers.clear()
    optimizers = optimizers_of(net, torch.optim.Adam, lr=1e-3)
    x, y = torch.rand(N, *SHAPE), torch.randint(K, (N,))
    return lambda: net.learn(x, y, optimizers)


def learning(module: ForwardOnly) -> Callable[[], None]:
    """Returns a step of the algorithm on a prepared batch, without the trainer."""
    x, y, index = torch.rand(N, *SHAPE), torch.randint(K, (N,)), torch.arange(N)
    step = 0

    def run() -> None:
        nonlocal step
        module.algorithm.learn(Batch(x, y, index, 0, N, BatchRNG(1, step, 0, N, N)), module.network)
        step += 1

    return run


def optimisations(units: Sequence[int], rounds: int, steps: int) -> dict[str, Times]:
    """Measure learning with all optimisations, and without each single one."""
    by_autograd, dense, plain, everything = (built(units) for _ in range(4))
    for module in (by_autograd, everything):
        without_closed_forms(module)
    for module in (dense, everything):
        first = module.network.blocks[0]
        first.body = Densified(first.body)
    for module in (plain, everything):
        for group in module.network.optimizers.param_groups:
            group["fused"], group["foreach"] = False, False
    modules = {
        "as it is": built(units),
        "autograd in place of closed forms": by_autograd,
        "first product once for each view": dense,
        "Adam as a loop over tensors": plain,
        "all three": everything,
    }
    return alternate({name: loop(learning(m)) for name, m in modules.items()}, rounds, steps)


def predicting(units: Sequence[int], rounds: int) -> dict[str, Times]:
    """Measure the scores of 1,000 samples: by ffcore, and by a plain pass for each class."""
    module = built(units)
    network, labels, n = module.network, module.algorithm.labels, 1000
    x = torch.rand(n, *SHAPE)

    def plain() -> list[Tensor]:
        made = []
        for k in range(K):
            rows = labels.join(x, labels.code(torch.full((n,), k), n)).dense()
            made.append(torch.stack(network.goodness(Views(rows, ("all",), (n,)))))
        return made

    scores = module.algorithm.scores(x, network)
    torch.testing.assert_close(scores, torch.stack(plain(), dim=2))
    both = {"shared": loop(lambda: module.algorithm.scores(x, network)), "plain": loop(plain)}
    return alternate(both, rounds, 1)


def arithmetic(units: Sequence[int]) -> float:
    """Returns the multiplications of `predicting` as a share of those of K plain passes."""
    first, rest = 784 * units[0], sum(a * b for a, b in pairwise(units))
    return (first / K + K * units[0] + rest) / (first + rest)


def data(rounds: int) -> dict[str, float]:
    """Returns microseconds per sample for gathering and conversion, also with augmentation or negatives."""
    loader = DeviceLoader(images().load().train, scale=1 / 255, batch_size=N, shuffle=True)
    shift, hybrid = Shift(), Hybrid()
    hybrid.setup(Context(SHAPE, K))
    extras: dict[str, Callable[[Batch, BatchRNG], object]] = {
        "gather and convert": lambda batch, rng: None,
        "and shift by up to 2 pixels": lambda batch, rng: shift(batch.x, rng),
        "and hybrid negatives": lambda batch, rng: hybrid(batch.x, None, lambda: batch.x, rng),
    }
    found = {}
    for name, extra in extras.items():
        source = iter(loader)

        def step(source: Any = source, extra: Any = extra) -> None:
            batch = next(source)
            extra(batch, BatchRNG(1, 0, 0, N, N))

        found[name] = alternate({name: loop(step)}, rounds, 10)[name].median * 1e3 / N
    return found


def vectors(n: int = 1000) -> Batch:
    x, y = torch.rand(n, *SHAPE), torch.randint(K, (n,))
    return Batch(x, y, torch.arange(n), 0, n, BatchRNG(1, 0, 0, n, n))


def megabytes_kept(module: ForwardOnly, batch: Batch) -> float:
    """Returns the maximum memory that autograd keeps while a batch is learned, without parameters."""
    with kept_for_backward(module.network.parameters()) as kept:
        module.algorithm.learn(batch, module.network)
    return kept.most / 1e6
