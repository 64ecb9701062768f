"""The cost of learning compared with backpropagation: python tests/bench/costs.py [--write FILE].

The programs are measured in turns in one process on one thread, on random data in the shape of the recipe's
data. Only the algorithm's step is measured, not the loader; no data set is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from measures import megabytes_kept
from torch.utils.flop_counter import FlopCounterMode
from turns import Turn, alternate, loop

from ffcore.build.assemble import assemble
from ffcore.engine.module import ForwardOnly
from ffcore.interfaces import Batch, BatchRNG
from ffcore.recipe.load import load
from ffcore.recipe.schema import Recipe
from ffcore.run.environment import git_commit

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
PAIRS: dict[str, tuple[tuple[int, ...], str, list[str]]] = {
    "mnist/ff": (MNIST, "mnist/backprop", []),
    "mnist/ff-fast": (MNIST, "mnist/backprop", []),
    "mnist/ff-2000x4": (MNIST, "mnist/ff-2000x4-backprop", []),
    "mnist/ff-unsupervised": (MNIST, "mnist/ff-2000x4-backprop", []),
    "mnist/ff-recurrent": (MNIST, "mnist/backprop", ["network=[{kind: dense, units: 2000, repeat: 3}]"]),
    "mnist/pff-small": (MNIST, "mnist/pff-small-backprop", []),
    "mnist/channel-tinycnn": (MNIST, "mnist/channel-tinycnn-backprop", []),
    "mnist/predsim": (MNIST, "mnist/predsim-backprop", []),
    "mnist/sigprop": (MNIST, "mnist/sigprop-backprop", []),
    "cifar10/channel-fast": (CIFAR, "cifar10/channel-fast-backprop", []),
    "cifar10/channel-small": (CIFAR, "cifar10/channel-small-backprop", []),
}
"""A recipe, and a recipe for backpropagation with the same layers, data and batch size."""


def built(recipe: Recipe, shape: tuple[int, ...]) -> ForwardOnly:
    """Returns the module, ready to learn."""
    module = assemble(recipe, shape, 10)
    module.configure_optimizers()
    return module


def batch(shape: tuple[int, ...], n: int, step: int = 0) -> Batch:
    """Random samples."""
    x, y = torch.rand(n, *shape), torch.randint(10, (n,))
    return Batch(x, y, torch.arange(n), 0, n, BatchRNG(1, step, 0, n, n))


def learning(module: ForwardOnly, shape: tuple[int, ...], n: int) -> Callable[[], None]:
    """Returns a function that learns one batch."""
    ready, step = batch(shape, n), 0

    def run() -> None:
        nonlocal step
        step += 1
        ready.seed(1, step)
        module.algorithm.learn(ready, module.network)

    return run


def gflop(turn: Turn) -> float:
    """Returns 10⁹ operations of the products of one step, two per multiplication."""
    with FlopCounterMode(display=False) as counter:
        turn(1)
    return counter.get_total_flops() / 1e9


def measured(name: str, rounds: int) -> dict[str, object]:
    """Returns milliseconds per batch and megabytes kept for backward, of a recipe and of its twin."""
    shape, other, overrides = PAIRS[name]
    loaded: list[tuple[str, list[str]]] = [(name, []), (other, overrides)]
    recipes = [load(*each) for each in loaded]
    n = recipes[0].data.batch_size
    one, two = (built(recipe, shape) for recipe in recipes)
    turns = {"recipe": loop(learning(one, shape, n)), "backprop": loop(learning(two, shape, n))}
    times = alternate(turns, rounds, 4)
    ratios = [a / b for a, b in zip(times["recipe"].ms, times["backprop"].ms, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "loaded": loaded,
        "recipes": [recipe.model_dump(mode="json") for recipe in recipes],
        "batch": n,
        "ms": [times[each].median for each in ("recipe", "backprop")],
        "quartiles": [low, high],
        "gflop": [gflop(turns[each]) for each in ("recipe", "backprop")],
        "kept_mb": [megabytes_kept(module, batch(shape, n)) for module in (one, two)],
    }


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", type=Path, help="a file of JSON for docs/results/write.py")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for name in PAIRS:
        found.append(measured(name, given.rounds))
        print(name, found[-1]["ms"], found[-1]["kept_mb"], flush=True)
    if given.write is not None:
        machine = f"{platform.machine()}, one thread of {os.cpu_count()} cores, torch {torch.__version__}"
        about = {"machine": machine, "commit": git_commit()}
        given.write.write_text(json.dumps({**about, "pairs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
