"""Samples per second on two ranks and on one, in turns: `python tests/bench/scaling.py [--write FILE]`.

Every program trains the same network on the same random data, in processes of one thread connected by gloo.
The first and last steps of a turn are not measured: a pipeline is filled and emptied there.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from real import recipe
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from two_ranks import connected, start, trained

from ffcore.ranks.division import Pipeline
from ffcore.ranks.group import Group
from ffcore.ranks.local import LocalDDP
from ffcore.ranks.pipeline import PipelineStrategy

NETWORKS = {
    "balanced": ((1500, 1200, 1100, 1100), 100),
    "small": ((500, 500), 100),
    "large batch": ((1500, 1200, 1100, 1100), 1000),
}
LEAD = 8
NAMES = ("one process", "ff_pipeline", "ff_local", "backprop, one process", "backprop, DDP")


class _Clock(L.Callback):
    """Records the times at which steps end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())


def _trained(
    units: Sequence[int], batch: int, steps: int, strategy: Any, rank: int = 0, world: int = 1
) -> tuple[list[float], Any]:
    """Returns the times at which steps of ffcore's engine end, and the module."""
    config = {"threads": 1, "accelerator": "cpu", "max_epochs": 1000}
    data = {"kind": "digits", "validation": 0, "batch_size": batch}
    made = recipe(units, trainer=config, data=data)
    clock = _Clock()
    module = trained(made, steps, strategy, clock, rank, world)
    return clock.ends, module


def _backprop(units: Sequence[int], batch: int, steps: int, spread: bool) -> list[float]:
    """Train the same layers with a linear head and cross-entropy; ``spread``: with torch's DDP."""
    sizes = [784, *units]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    net: nn.Module = nn.Sequential(*layers, nn.Linear(sizes[-1], 10))
    net = DistributedDataParallel(net) if spread else net
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    # each rank has its share of the global batch
    rows = batch // (dist.get_world_size() if spread else 1)
    x, y = torch.rand(rows, 784), torch.randint(10, (rows,))
    ends = []
    for _ in range(steps):
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        ends.append(time.perf_counter())
    return ends


def _seconds(ends: list[float]) -> float:
    """Returns the seconds per step."""
    counted = ends[LEAD : len(ends) - LEAD]
    return (counted[-1] - counted[0]) / (len(counted) - 1)


def _turns(name: str, rounds: int, steps: int) -> None:
    """Measure all programs in turns, on every rank; the times are those of the last rank."""
    (units, batch), group, alone = NETWORKS[name], Group(), dist.get_rank() == 0
    net = (units, batch, steps)
    # Programs of one process run on rank 0 alone, while the other ranks wait at the barrier.
    works: dict[str, Callable[[], list[float] | None]] = {
        "one process": lambda: _trained(*net, "auto")[0] if alone else None,
        "ff_pipeline": lambda: _piped(*net),
        "ff_local": lambda: _trained(*net, LocalDDP(), group.rank, group.world)[0],
        "backprop, one process": lambda: _backprop(*net, spread=False) if alone else None,
        "backprop, DDP": lambda: _backprop(*net, spread=True),
    }
    taken: dict[str, list[float]] = {each: [] for each in works}
    for _ in range(rounds):
        for each, work in works.items():
            dist.barrier()  # no program may start while another rank still runs the last one
            ends = work()
            seconds = [s for s in group.objects(None if ends is None else _seconds(ends)) if s is not None]
            taken[each].append(seconds[-1])
    if alone:
        print(f"NETWORK {name} {'-'.join(map(str, (784, *units)))}")
        for each, seconds in taken.items():
            print("ROW", each, *(f"{1e3 * s:.3f}" for s in seconds), sep="|")
        print("COSTS", *(f"{1e3 * c:.3f}" for c in _costs), sep="|", flush=True)


_costs: list[float] = []


def _piped(units: Sequence[int], batch: int, steps: int) -> list[float]:
    ends, module = _trained(units, batch, steps, PipelineStrategy(batch, "measured"))
    distribution = module.distribution
    assert isinstance(distribution, Pipeline)
    _costs[:] = distribution.loads  # in place: printed at the end of `_turns`
    return ends


def measured(name: str, rounds: int, steps: int) -> str:
    """Returns the table of one network."""
    batch = NETWORKS[name][1]
    steps = max(3 * LEAD, steps * 100 // batch)  # about equal times for small and large batches
    words = ["--rank", name, "--rounds", str(rounds), "--steps", str(steps)]
    ranks = start(__file__, words, stdout=subprocess.PIPE)
    lines, *_ = [rank.communicate()[0].splitlines() for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), "a rank has failed"
    title = next(line.split()[-1] for line in lines if line.startswith("NETWORK"))
    rows = {
        name: [float(ms) for ms in ms_of]
        for name, *ms_of in (line.split("|")[1:] for line in lines if line.startswith("ROW|"))
    }
    loads = [float(ms) for line in lines if line.startswith("COSTS|") for ms in line.split("|")[1:]]
    one, back = rows["one process"], rows["backprop, DDP"]
    table = [
        f"**{title}**, batch {batch}; expected for the pipeline: {sum(loads) / max(loads):.2f} × one process "
        f"(shares {' and '.join(f'{load / sum(loads):.0%}' for load in loads)} of the measured time)",
        "",
        "| | ms per step | samples per second | vs. one process | vs. backprop with DDP |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for each in NAMES:
        ms = statistics.median(rows[each])
        table.append(
            f"| {each} | {ms:.2f} | {batch / ms * 1e3:,.0f} | {_ratio(one, rows[each]):.2f} × | "
            f"{_ratio(back, rows[each]):.2f} × |"
        )
    return "\n".join(table)


def _ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    return statistics.median(slow) / statistics.median(fast)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rank", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=140)
    parser.add_argument("--only", choices=NETWORKS)
    parser.add_argument("--write", type=Path, help="the page to write")
    given = parser.parse_args()
    if given.rank is not None:
        with connected():
            _turns(given.rank, given.rounds, given.steps)
        return
    chosen = [given.only] if given.only else list(NETWORKS)
    tables = "\n\n".join(measured(name, given.rounds, given.steps) for name in chosen)
    print(tables)
    if given.write is not None:
        text = Path(__file__).with_name("scaling.md.in").read_text(encoding="utf-8")
        machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
        page = text.replace("{tables}", tables).replace("{machine}", machine)
        given.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
