"""Contestants that take turns, and what their times say.

Each may live in a process of its own: threads will not do, only the first allocates from the main arena.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch

Turn = Callable[[int], None]
"""Does so many steps."""


@dataclass(frozen=True)
class Times:
    """Milliseconds a step, one number a turn."""

    ms: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.ms)

    def __str__(self) -> str:
        low, _, high = statistics.quantiles(self.ms, n=4)
        return f"{self.median:.2f} ({low:.2f} to {high:.2f})"


class Requests:
    """What a contestant in a process of its own is asked for."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def next(self) -> int:
        """How many steps to take; 0 for no more."""
        return self.pipe.recv()

    def done(self, said: tuple[float, ...] = ()) -> None:
        """They have been taken."""
        self.pipe.send(said)


class Apart:
    """A contestant in a process of its own; closing it ends the process.

    Attributes:
        said: what it said last with `Requests.done`.
    """

    def __init__(self, main: Callable[[Requests], None]) -> None:
        spawn = get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(main, theirs))
        self.process.start()
        theirs.close()
        self.said: tuple[float, ...] = (0.0, 0.0)

    def __call__(self, steps: int) -> None:
        self.pipe.send(steps)
        self.said = self.pipe.recv()

    def close(self) -> None:
        self.pipe.send(0)
        self.process.join()


def _serve(main: Callable[[Requests], None], pipe: Connection) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    main(Requests(pipe))


def repeat(make: Callable[[], Callable[[], None]], requests: Requests) -> None:
    """A bare step in a process of its own."""
    turn = loop(make())
    while steps := requests.next():
        turn(steps)
        requests.done()


@contextmanager
def apart(mains: Mapping[str, Callable[[Requests], None]]) -> Iterator[dict[str, Apart]]:
    """Start everybody; the context ends them."""
    started = {name: Apart(main) for name, main in mains.items()}
    try:
        yield started
    finally:
        for contestant in started.values():
            contestant.close()


def loop(step: Callable[[], None]) -> Turn:
    """A turn of a bare step."""

    def turn(steps: int) -> None:
        for _ in range(steps):
            step()

    return turn


def alternate(contestants: Mapping[str, Turn], rounds: int, steps: int) -> dict[str, Times]:
    """Let everybody take ``steps`` steps in turn, ``rounds`` times and once before to warm up.

    A turn begins with a quarter as many that do not count: the others have emptied the caches.
    """
    ms: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(rounds + 1):
        for name, turn in contestants.items():
            if steps >= 4:
                turn(steps // 4)
            began = time.perf_counter()
            turn(steps)
            if round_:
                ms[name].append((time.perf_counter() - began) / steps * 1e3)
    return {name: Times(tuple(of)) for name, of in ms.items()}
