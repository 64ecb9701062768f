"""Milliseconds per step of predictive Forward-Forward on two ranks and on one, and the memory of each.

`python tests/bench/pff_ranks.py`

Random images of 28×28, batches of 100, Adam; two processes of one thread each, connected by gloo. Medians of
rounds in turns; the first steps of a turn are not measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from two_ranks import connected, start, trained

from ffcore.ranks.group import Group
from ffcore.ranks.holding import held
from ffcore.ranks.local import LocalDDP
from ffcore.ranks.pipeline import PipelineStrategy
from ffcore.recipe.load import load

LEAD, BATCH, CUT = 3, 100, "classifier"


class _Seen(L.Callback):
    """Records when steps end, in seconds and in seconds of CPU, and the bytes that this rank holds."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []
        self.held = 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))
        if trainer.global_step == LEAD:
            states = [v for each in pl_module.network.optimizers for v in each.optimizer.state.values()]
            moments = [t for of in states for t in of.values() if isinstance(t, torch.Tensor)]
            self.held = held([*pl_module.parameters(), *moments])  # weights and optimiser states


_Seen.__module__ = "ffcore.bench"  # reads no weights of other ranks


def _trained(
    units: Sequence[int], steps: int, strategy: Any, rank: int, world: int
) -> tuple[float, float, int]:
    """Returns seconds per step, those of CPU, and the bytes held."""
    options = ["trainer.threads=1", "trainer.accelerator=cpu", "data.validation=0"]
    made = load("digits/pff", [f"network.0.units={list(units)}", f"data.batch_size={BATCH}", *options])
    seen = _Seen()
    trained(made, steps, strategy, seen, rank, world)
    pairs = zip(seen.ends[LEAD], seen.ends[-1], strict=True)
    seconds, busy = ((end - start) / (len(seen.ends) - 1 - LEAD) for start, end in pairs)
    return seconds, busy, seen.held


def _turns(units: Sequence[int], rounds: int, steps: int) -> None:
    group = Group()
    works = {
        "one process": lambda: _trained(units, steps, "auto", 0, 1) if group.rank == 0 else None,
        "ff_pipeline": lambda: _trained(units, steps, PipelineStrategy(BATCH), 0, 1),
        "ff_pipeline, cut": lambda: _trained(units, steps, PipelineStrategy(BATCH, cut=[CUT]), 0, 1),
        "ff_local": lambda: _trained(units, steps, LocalDDP(), group.rank, group.world),
    }
    taken: dict[str, list[list[tuple[float, float, int]]]] = {each: [] for each in works}
    for _ in range(rounds):
        for each, work in works.items():
            dist.barrier()
            taken[each].append([made for made in group.objects(work()) if made is not None])
    one = statistics.median(rows[-1][0] for rows in taken["one process"]) if group.rank == 0 else 0.0
    for each, rounds_of in taken.items() if group.rank == 0 else ():
        seconds = statistics.median(rows[-1][0] for rows in rounds_of)
        busy = [statistics.median(of) for of in zip(*([row[1] for row in r] for r in rounds_of), strict=True)]
        of_cpu = " and ".join(f"{1e3 * each:.1f}" for each in busy)
        sizes = " and ".join(f"{size / 2**20:.1f}" for _, _, size in rounds_of[-1])
        print(f"{each}: {1e3 * seconds:.1f} ms, {one / seconds:.2f} ×, {of_cpu} ms of CPU, {sizes} MiB held")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--units", type=int, nargs="+", default=[500, 500])
    given = parser.parse_args()
    if given.rank:
        with connected():
            _turns(given.units, given.rounds, given.steps)
        return
    ended = [rank.wait() for rank in start(__file__, ["--rank", *sys.argv[1:]])]
    assert not any(ended), "a rank has failed"


if __name__ == "__main__":
    main()
