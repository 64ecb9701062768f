"""Calls of a slow box that overlap with learning, beside calls that do not.

    python tests/bench/overlap.py [--milliseconds 10] [--calls 64]

Three dense blocks with linear heads, batches of 100 samples; the box sleeps and returns its input. Each line
is a width: the median seconds of learning alone, with calls one after the other, and with calls that overlap,
and the last as a multiple of the larger of learning and calls. The variants alternate.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

import ffcore
from ffcore.local import BoxStage, LocalBlock

INPUTS, CLASSES, BATCH = 784, 10, 100


def network(width: int, seconds: float, overlap: bool) -> ffcore.Network:
    """Return a network whose box takes this time."""

    def block(inputs: int) -> LocalBlock:
        body = nn.Sequential(nn.Linear(inputs, width), nn.ReLU())
        return LocalBlock(body, "linear-head", objective="cross-entropy")

    def slow(x: Tensor) -> Tensor:
        time.sleep(seconds)
        return x

    stages = [block(INPUTS), BoxStage(slow, overlap=overlap), block(width), block(width)]
    return ffcore.Network(stages, "local-errors", torch.zeros(2, INPUTS), CLASSES, contribution="last")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--milliseconds", type=float, default=10.0)
    parser.add_argument("--calls", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    each, calls = options.milliseconds / 1000, options.calls
    x, y = torch.randn(BATCH, INPUTS), torch.randint(CLASSES, (BATCH,))
    for width in (200, 400, 600, 800, 1000):
        nets = [network(width, *of) for of in ((0.0, False), (each, False), (each, True))]
        optimizers = [ffcore.optimizers(net, torch.optim.Adam, lr=1e-3) for net in nets]
        seconds: list[list[float]] = [[], [], []]
        for _ in range(4):
            for net, steppers, taken in zip(nets, optimizers, seconds, strict=True):
                began = time.perf_counter()
                for _ in range(calls):
                    net.learn(x, y, steppers)
                net.local.settle()
                taken.append(time.perf_counter() - began)
        learning, after, overlapping = (statistics.median(taken[1:]) for taken in seconds)
        factor = overlapping / max(learning, each * calls)
        print(f"{width:5} units: {learning:.2f} {after:.2f} {overlapping:.2f} s, {factor:.2f}")


if __name__ == "__main__":
    main()
