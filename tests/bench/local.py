"""The step of local error signals on VGG8b beside backprop's: python tests/bench/local.py [--precision bf16].

The programs take turns in one process on one thread, on random data; the ratio is the median over the turns.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from costs import CIFAR, built, learning
from torch.utils.flop_counter import FlopCounterMode

from ffcore.recipe.load import load
from ffcore.run.environment import git_commit

NAME = "cifar10/vgg8b-predsim"
PROGRAMS: dict[str, tuple[str, list[str]]] = {
    "backprop": (f"{NAME}-backprop", []),
    "pred": ("cifar10/vgg8b-pred", []),
    "predsim, no convolution": (NAME, ["block.penalties.similarity.kernel=null"]),
    "predsim, kernel 1": (NAME, ["block.penalties.similarity.kernel=1"]),
    "predsim, kernel 3": (NAME, []),
}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    given = parser.parse_args()
    torch.set_num_threads(1)
    steps = {
        name: learning(built(load(*program), CIFAR), CIFAR, given.batch) for name, program in PROGRAMS.items()
    }
    work, times = {}, {name: list[float]() for name in steps}
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bf16")
    for name, step in steps.items():  # also warms up
        with FlopCounterMode(display=False) as counter, autocast:
            step()
        work[name] = counter.get_total_flops()
    for _ in range(given.rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            with autocast:
                step()
            times[name].append(time.perf_counter() - start)
    commit = (git_commit() or "no commit")[:7]
    print(f"batch {given.batch}, {given.precision}, {given.rounds} rounds, at {commit}")
    for name, own in times.items():
        ratio = statistics.median(a / b for a, b in zip(own, times["backprop"], strict=True))
        print(
            f"{name:24}{1e3 * statistics.median(own):7.0f} ms   {ratio:.2f} × backprop   multiplications "
            f"{work[name] / work['backprop']:.2f} ×"
        )


if __name__ == "__main__":
    main()
