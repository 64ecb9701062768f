"""What one training step of Forward-Forward costs: ffcore beside bare loops of the same maths.

    python tests/bench/step.py [--units 500 500] [--rounds 15]

One thread, random data in the shape of MNIST, batch 100 (so many positives and negatives a step), fused Adam.
The three take turns; printed are medians of milliseconds a step with quartiles, and ratios of medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from ffcore.build.assemble import assemble
from ffcore.interfaces import Batch, Draw
from ffcore.recipe.schema import Recipe

BATCH, SHAPE, CLASSES, STEPS = 100, (1, 28, 28), 10, 20


def recipe(units: list[int]) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "bench",
            "data": {"kind": "mnist"},
            "algorithm": {"kind": "forward-forward"},
            "network": [{"kind": "dense", "units": u} for u in units],
            "block": {
                "goodness": {"kind": "sum-squares"},
                "objective": {"kind": "logistic"},
                "handoff": {"kind": "rms"},
            },
        }
    )


def ffcore_step(units: list[int]) -> Callable[[], None]:
    module = assemble(recipe(units), SHAPE, CLASSES)
    module.configure_optimizers()
    x, y, index = torch.rand(BATCH, *SHAPE), torch.randint(CLASSES, (BATCH,)), torch.arange(BATCH)
    step = 0

    def run() -> None:
        nonlocal step
        batch = Batch(x, y, index, 0, BATCH, Draw(1, step, 0, BATCH, BATCH))
        module.algorithm.learn(batch, module.network)
        step += 1

    return run


def bare_step(units: list[int]) -> Callable[[], None]:
    """Both views in one batch, autograd for each layer, fused Adam."""
    layers = [nn.Linear(a, b) for a, b in zip([784, *units], units, strict=False)]
    optimizers = [torch.optim.Adam(layer.parameters(), fused=True) for layer in layers]
    x, y, eye = torch.rand(BATCH, 784), torch.randint(CLASSES, (BATCH,)), torch.eye(CLASSES)

    def run() -> None:
        wrong = (y + torch.randint(1, CLASSES, (BATCH,))) % CLASSES
        h = torch.cat([x, x])
        h[:, :CLASSES] = eye[torch.cat([y, wrong])]
        h = h / (h.square().mean(1, keepdim=True).sqrt() + 1e-8)
        for layer, optimizer in zip(layers, optimizers, strict=True):
            a = torch.relu(layer(h))
            logits = a.square().sum(1) - a.shape[1]
            loss = F.softplus(-logits[:BATCH]).mean() + F.softplus(logits[BATCH:]).mean()
            optimizer.zero_grad()
            loss.backward()
            h = a.detach()
            h = h / (h.square().mean(1, keepdim=True).sqrt() + 1e-8)
            optimizer.step()

    return run


def backprop_step(units: list[int]) -> Callable[[], None]:
    """The same network with a linear head and cross-entropy, fused Adam."""
    widths = [784, *units]
    hidden = [m for a, b in zip(widths, units, strict=False) for m in (nn.Linear(a, b), nn.ReLU())]
    net = nn.Sequential(*hidden, nn.Linear(widths[-1], CLASSES))
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    x, y = torch.rand(BATCH, 784), torch.randint(CLASSES, (BATCH,))

    def run() -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[500, 500])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    makers = {"ffcore": ffcore_step, "bare loop": bare_step, "backprop": backprop_step}
    runs = {name: maker(options.units) for name, maker in makers.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            for _ in range(STEPS):
                run()
            if turn:  # the first round warms up
                times[name].append((time.perf_counter() - began) / STEPS * 1e3)
    medians = {name: statistics.median(of) for name, of in times.items()}
    print(f"784-{'-'.join(map(str, options.units))}, batch {BATCH}, one thread, {options.rounds} rounds")
    for name, of in times.items():
        low, _, high = statistics.quantiles(of, n=4)
        ratio = medians["ffcore"] / medians[name]
        print(f"  {name:10} {medians[name]:8.2f} ms ({low:.2f} to {high:.2f})   ffcore costs {ratio:.2f} ×")


if __name__ == "__main__":
    main()
