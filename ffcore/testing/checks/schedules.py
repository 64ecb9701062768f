"""Checks of schedules."""

from __future__ import annotations

import torch
from torch import Tensor

from ffcore.interfaces import Context, Progress, Schedule, Source
from ffcore.testing.example import Example
from ffcore.testing.scenery import K, Placed

BLOCKS = range(1, 7)
EPOCHS = (1, 2, 3, 6, 20)
STEPS = range(5)


def place_schedule(example: Example, seed: int = 0) -> Placed:
    """Set up a schedule; its use returns the windows for all progress that it accepts."""
    blocks = BLOCKS[-1]
    schedule = _set_up(example, blocks, seed)

    def use() -> Tensor:
        return torch.tensor([[w.start, w.stop] for windows in _windows(schedule, blocks) for w in windows])

    return Placed(schedule, use)


def check_schedule_windows_are_ascending_disjoint_and_in_range(example: Example) -> None:
    """Windows are valid for one to six blocks and all epochs. A ValueError refuses an impossible run."""
    accepted = 0
    for blocks, windows in _all(example):
        accepted += 1
        ends = [end for window in windows for end in (window.start, window.stop)]
        assert all(window.step == 1 and len(window) for window in windows), f"{windows}: an empty window"
        assert ends == sorted(ends), f"{windows} are not ascending and disjoint"
        assert not ends or (ends[0] >= 0 and ends[-1] <= blocks), f"{windows} of {blocks} blocks"
    assert accepted, "refuses one to six blocks for all numbers of epochs"


def check_schedule_lets_every_block_learn(example: Example) -> None:
    """In some run that the schedule accepts, every block learns at some time."""
    for blocks in BLOCKS:
        schedule = _set_up(example, blocks)
        for epochs in EPOCHS:
            try:
                runs = [
                    schedule.windows(Progress(e, e * len(STEPS) + s, epochs), blocks)
                    for e in range(epochs)
                    for s in STEPS
                ]
            except ValueError:
                continue
            # blocks that are in no window of the whole run
            idle = set(range(blocks)) - {i for windows in runs for window in windows for i in window}
            if not idle:
                return
    raise AssertionError("in every run that it accepts some block never learns")


def _set_up(example: Example, blocks: int, seed: int = 0) -> Schedule:
    schedule: Schedule = example.make(seed=seed)
    sources = tuple(Source(f"block{i + 1}", "block") for i in range(blocks))
    schedule.setup(Context((1, 8, 8), K, blocks=blocks, sources=sources))
    return schedule


def _all(example: Example) -> list[tuple[int, tuple[range, ...]]]:
    return [(blocks, found) for blocks in BLOCKS for found in _windows(_set_up(example, blocks), blocks)]


def _windows(schedule: Schedule, blocks: int) -> list[tuple[range, ...]]:
    found = []
    for epochs in EPOCHS:
        for epoch in range(epochs):
            for step in STEPS:
                progress = Progress(epoch, epoch * len(STEPS) + step, epochs)
                try:
                    found.append(schedule.windows(progress, blocks))
                except ValueError:
                    continue
    return found
