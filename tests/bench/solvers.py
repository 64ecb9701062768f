"""Two boxes whose input has to be learned: local blocks around them, and every control.

    python tests/bench/solvers.py [--write docs/plugins/blackbox.md] [--seeds 1,2,3]

A control with a setting of its own gets the best of a small grid on the validation samples of seed 1. Takes
about ten minutes on one core.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import contextlib
import io
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pages import fill, mean
from perturbation import perturbed
from torch import Tensor, nn
from torch.nn import functional as F

import ffcore
from ffcore.recipe.load import load
from ffcore.run.data import Data
from ffcore_blackbox.alignment import warped_distances
from ffcore_blackbox.paths import LEAST, shortest_paths

STILL = {"optimizer": {"kind": "sgd", "lr": 1e-30}}
BACKPROP = {
    "algorithm": "backprop",
    "schedule": None,
    "optimizer": {"kind": "adam", "lr": 1e-3},
    "trainer.max_epochs": 30,
}
FULL = 20  # epochs of a control without a limit


class Measured(NamedTuple):
    """What is measured, in percent; rows through the box, and seconds of the processor, while learning."""

    validation: float
    test: float
    rows: float
    seconds: float


class Limit(NamedTuple):
    """When a control has to stop: after this many rows through the box, or seconds of the processor."""

    rows: float = float("inf")
    seconds: float = float("inf")


class Samples(NamedTuple):
    """The samples of a recipe, as its blocks get them."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, name: str, seed: int) -> Samples:
        data = Data.open(load(name, [f"seed={seed}"]))
        splits = [data.train, data.val, data.images.test]
        scale = data.images.scale
        return cls(
            *((torch.tensor(s.x, dtype=torch.float32) * scale, torch.tensor(s.y)) for s in splits if s)
        )


def run(name: str, seed: int, **changes: Any) -> Measured:
    """Return the result of a recipe with changes."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        began = time.process_time()
        done = ffcore.train(
            name,
            run_dir=Path(folder) / "run",
            report=False,
            **{"seed": seed, "trainer.bar": False, **changes},
        )
    found = done.results
    measure = (found.get("task") or {}).get("headline", "accuracy")
    rows = sum(use.get("learning", {}).get("rows", 0) for use in (found.get("boxes") or {}).values())
    seconds = (time.process_time() - began) * found["train_s"] / found["wall_s"]
    return Measured(100 * found["val"][measure], 100 * found["test"][measure], rows, seconds)


def learn(
    parameters: Sequence[nn.Parameter],
    lr: float,
    loss: Callable[[Tensor], tuple[Tensor, int]],
    samples: int,
    limit: Limit,
) -> tuple[float, float]:
    """Let parameters learn with Adam; return the rows through the box and the seconds.

    Args:
        parameters: what learns.
        lr: the rate.
        loss: returns the loss of the samples with these indices, and the rows that it has given to the box;
            it may set gradients of its own.
        samples: number of training samples.
        limit: when to stop.
    """
    adam, rows, began = torch.optim.Adam(parameters, lr=lr), 0.0, time.process_time()
    limited = limit != Limit()
    for _ in count() if limited else range(FULL):
        for batch in torch.randperm(samples).split(20):
            adam.zero_grad()
            value, used = loss(batch)
            if rows + used > limit.rows or time.process_time() - began > limit.seconds:
                return rows, time.process_time() - began
            rows += used
            value.backward()
            adam.step()
    return rows, time.process_time() - began


def within_limits(
    name: str,
    own: Sequence[Measured],
    seeds: Sequence[int],
    control: Callable[[int, Limit], Measured],
) -> dict[str, list[Measured]]:
    """Return the rows of a control with the calls and the time of our own runs, and without a limit."""
    limits = {
        "equal calls": [Limit(rows=one.rows) for one in own],
        "equal time": [Limit(seconds=one.seconds) for one in own],
        f"{FULL} epochs": [Limit() for _ in own],
    }
    return {
        f"{name}, {what}": [control(seed, limit) for seed, limit in zip(seeds, each, strict=True)]
        for what, each in limits.items()
    }


# -- shortest paths ------------------------------------------------------------------------------------------

MAPS = "digits/blackbox-path"
CELL = {"kind": "conv", "channels": 100, "kernel": 1, "bias": True}
AROUND = {**CELL, "kernel": 3}
ODDS = {
    **{"kind": "conv", "channels": 2, "kernel": 1, "bias": True, "activation": "identity"},
    **{"name": "odds", "block": {"goodness": "logits"}},
}
SOLVER = {"kind": "blackbox", "box": {"kind": "shortest-path"}, "name": "solver"}
LAST = {**ODDS, "name": "path", "block": {"goodness": "logits", "penalties": None}}
ASKS = {"solved": {"kind": "structured-perceptron", "box": "shortest-path"}}
UNASKED = {"block.penalties": None, "optimizer.lr": 1e-2, "lr_schedule": "constant", "trainer.max_epochs": 40}


def solved(costs: Tensor) -> Tensor:
    return torch.from_numpy(shortest_paths(costs.detach().double().clamp_min(LEAST).numpy()))


def cell_net() -> nn.Module:
    layers = (nn.Conv2d(64, 100, 1), nn.ReLU(), nn.Conv2d(100, 100, 1), nn.ReLU(), nn.Conv2d(100, 1, 1))
    return nn.Sequential(*layers)


def through_solver(how: str, lr: float, strength: float, seed: int, limit: Limit) -> Measured:
    """Learn costs by "perceptron" updates, "interpolated" (Vlastelica 2020), or a "head" before the box."""
    torch.manual_seed(seed)
    (x, y), validation, test = Samples.of(MAPS, seed)
    target, net = y.float(), cell_net()

    def loss(batch: Tensor) -> tuple[Tensor, int]:
        costs = F.softplus(-net(x[batch])[:, 0])
        if how == "head":
            return F.binary_cross_entropy_with_logits(net(x[batch])[:, 0], target[batch]), 0
        path = solved(costs)
        if how == "perceptron":  # cheaper on the right path, dearer on the found one
            return (costs * (target[batch] - path)).sum((1, 2)).mean(), len(batch)
        nearer = solved(costs + strength * (1 - 2 * target[batch]))
        return (costs * (nearer - path)).sum((1, 2)).mean() / strength, 2 * len(batch)

    rows, seconds = learn(list(net.parameters()), lr, loss, len(x), limit)

    def exact(split: tuple[Tensor, Tensor]) -> float:
        paths = solved(F.softplus(-net(split[0])[:, 0]))
        return 100 * float((paths == split[1]).flatten(1).all(1).float().mean())

    return Measured(exact(validation), exact(test), rows, seconds)


def maps(seeds: Sequence[int]) -> dict[str, list[Measured]]:
    own = [run(MAPS, seed) for seed in seeds]
    cells, around = {**CELL, "repeat": 2}, {**AROUND, "repeat": 4}
    asking = {**ODDS, "block": {"goodness": "logits", "penalties": ASKS}}
    nets: dict[str, dict[str, Any]] = {
        "the three layers before it in one window": {
            "schedule": {"kind": "windows", "size": 3},
            "block.penalties": None,
            "optimizer.lr": 3e-3,
            "network": [cells, asking, SOLVER, LAST],
        },
        "local classifiers that do not ask the solver": {
            **UNASKED,
            "schedule": {"kind": "greedy", "cache": True},
        },
        "random features before it": {"network": [{**cells, "block": STILL}, ODDS, SOLVER, LAST]},
        "without the box": {**UNASKED, "network": [cells, ODDS]},
        "without the box, four convolutions over neighbours": {
            **UNASKED,
            "network": [cells, around, ODDS],
        },
        "the same four, by backprop": {**BACKPROP, "block.penalties": None, "network": [cells, around]},
    }
    rows = {"**local classifiers that ask the solver**": own}
    rows |= {name: [run(MAPS, seed, **changes) for seed in seeds] for name, changes in nets.items()}
    rows["backprop of the blocks before it with a head, then cut"] = [
        through_solver("head", 3e-3, 0.0, seed, Limit()) for seed in seeds
    ]
    for how, strengths in (("perceptron", (0.0,)), ("interpolated", (5.0, 20.0, 80.0))):
        grid = [(lr, strength) for lr in (3e-4, 1e-3, 3e-3) for strength in strengths]
        lr, strength = max(grid, key=lambda s: through_solver(how, *s, seeds[0], Limit()).validation)
        name = "structured perceptron" if how == "perceptron" else "gradient by interpolation of it"
        rows |= within_limits(name, own, seeds, partial(through_solver, how, lr, strength))
    return rows


# -- alignment -----------------------------------------------------------------------------------------------

WARPED = "digits/blackbox-align"
STORED, FEATURES = 16, 32
FRAME = {"kind": "conv-1d", "units": FEATURES, "kernel": 1, "name": "frames"}
MEAN = {"goodness": {"kind": "linear-head", "init": "uniform", "dim": -1}}
BOX = {"kind": "blackbox", "box": {"kind": "alignment", "stored": STORED}, "fit": "finished", "name": "box"}
DENSE = {"kind": "dense", "units": 200}


def through_alignment(lr: float, size: float, seed: int, limit: Limit) -> Measured:
    """Frames by simultaneous perturbation (Spall 1992) of the loss behind the box, the rest by backprop."""
    torch.manual_seed(seed)
    (x, y), validation, test = Samples.of(WARPED, seed)
    frames = nn.Linear(x.shape[2], FEATURES)
    rest = nn.Sequential(nn.Linear(10 * STORED, 200), nn.ReLU(), nn.Linear(200, 10))
    own = list(frames.parameters())
    chosen = torch.cat([(y == k).nonzero()[:STORED, 0] for k in range(10)])

    @torch.no_grad()
    def near(rows: Tensor) -> Tensor:
        stored = frames(x[chosen]).relu().numpy()
        distances = torch.from_numpy(warped_distances(frames(rows).relu().numpy(), stored))
        return (distances.mean() - distances) / distances.std().clamp_min(1e-6)

    def loss(batch: Tensor) -> tuple[Tensor, int]:
        behind = perturbed(own, size, lambda: F.cross_entropy(rest(near(x[batch])), y[batch]))
        return behind, 2 * len(batch)

    rows, seconds = learn([*own, *rest.parameters()], lr, loss, len(x), limit)

    @torch.no_grad()
    def right(split: tuple[Tensor, Tensor]) -> float:
        return 100 * float((rest(near(split[0])).argmax(1) == split[1]).float().mean())

    return Measured(right(validation), right(test), rows, seconds)


def warped(seeds: Sequence[int]) -> dict[str, list[Measured]]:
    own = [run(WARPED, seed) for seed in seeds]
    local = {"schedule": "joint", "trainer.max_epochs": 30}
    conv = {"kind": "conv-1d", "units": 64, "kernel": 5, "stride": 2}
    nets: dict[str, dict[str, Any]] = {
        "random features before it": {"network": [{**FRAME, "block": {**MEAN, **STILL}}, BOX, DENSE]},
        "the frames themselves before it": {"network": [BOX, DENSE]},
        "without the box": {**local, "network": [{**FRAME, "block": MEAN}, DENSE]},
        "without the box, by backprop": {**BACKPROP, "network": [FRAME, DENSE]},
        "convolutions along time, by backprop": {**BACKPROP, "network": [{**conv, "repeat": 2}, DENSE]},
        "a recurrent layer, by backprop": {**BACKPROP, "network": [{"kind": "gru", "units": 64}, DENSE]},
    }
    rows = {"**local classifiers on both sides**": own}
    rows |= {name: [run(WARPED, seed, **changes) for seed in seeds] for name, changes in nets.items()}
    grid = [(lr, size) for lr in (1e-3, 1e-2) for size in (0.01, 0.1)]
    calls = Limit(rows=20_000)
    lr, size = max(grid, key=lambda s: through_alignment(*s, seeds[0], calls).validation)
    rows |= within_limits("perturbation through it", own, seeds, partial(through_alignment, lr, size))
    return rows


# -- the tables ----------------------------------------------------------------------------------------------


def table(rows: Mapping[str, Sequence[Measured]], measure: str) -> str:
    head = ("method", measure, "rows through the box", "learning")
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * 3]
    for name, of_seeds in rows.items():
        used = f"{np.mean([one.rows for one in of_seeds]):,.0f}"
        seconds = f"{np.mean([one.seconds for one in of_seeds]):.1f} s"
        lines.append(f"| {name} | {mean([one.test for one in of_seeds], 1)} | {used} | {seconds} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and, with --write, write into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", type=Path, help="the page")
    parser.add_argument("--seeds", default="1,2,3")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    parts = []
    for title, make, measure in (
        ("Shortest paths", maps, "whole paths right"),
        ("Alignment", warped, "digits right"),
    ):
        with contextlib.redirect_stdout(io.StringIO()):
            text = table(make(seeds), measure)
        print(f"{title}\n{text}", flush=True)
        parts.append(f"**{title}**\n\n{text}\n")
    if given.write is not None:
        fill(given.write, "solvers", "\n".join(parts))


if __name__ == "__main__":
    main()
