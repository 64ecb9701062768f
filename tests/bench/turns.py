"""Programs that are measured in turns, and statistics of their times.

Each may run in a separate process. Threads would not be comparable: only the first one uses malloc's main
arena.
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
"""A function that takes a number of steps."""


@dataclass(frozen=True)
class Times:
    """Milliseconds per step, one value per turn."""

    ms: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.ms)

    def __str__(self) -> str:
        low, _, high = statistics.quantiles(self.ms, n=4)
        return f"{self.median:.2f} ({low:.2f} to {high:.2f})"


class Requests:
    """The requests to a program in a separate process."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def next(self) -> int:
        """Returns the number of steps to take; 0 to end."""
        return self.pipe.recv()

    def done(self, report: tuple[float, ...] = ()) -> None:
        """Report that the steps have been taken, with measurements."""
        self.pipe.send(report)


class Apart:
    """A program in a separate process; ``close`` ends the process.

    Attributes:
        reported: argument of the last `Requests.done`.
    """

    def __init__(self, main: Callable[[Requests], None]) -> None:
        # spawn: a forked process would share the state of torch's threads
        spawn = get_context("spawn")
        self.pipe, child_end = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(main, child_end))
        self.process.start()
        child_end.close()  # else `recv` would wait for ever if the child ends
        self.reported: tuple[float, ...] = (0.0, 0.0)

    def __call__(self, steps: int) -> None:
        self.pipe.send(steps)
        self.reported = self.pipe.recv()

    def close(self) -> None:
        self.pipe.send(0)
        self.process.join()


def _serve(main: Callable[[Requests], None], pipe: Connection) -> None:
    warnings.filterwarnings("ignore")  # Lightning's advice would mix with the output
    torch.set_num_threads(1)
    main(Requests(pipe))


def repeat(make: Callable[[], Callable[[], None]], requests: Requests) -> None:
    """Answer requests with a bare step, in a separate process."""
    turn = loop(make())
    while steps := requests.next():
        turn(steps)
        requests.done()


@contextmanager
def apart(mains: Mapping[str, Callable[[Requests], None]]) -> Iterator[dict[str, Apart]]:
    """Start all programs; the end of the context ends them."""
    started = {name: Apart(main) for name, main in mains.items()}
    try:
        yield started
    finally:
        for contestant in started.values():
            contestant.close()


def loop(step: Callable[[], None]) -> Turn:
    """Returns a turn that repeats a bare step."""

    def turn(steps: int) -> None:
        for _ in range(steps):
            step()

    return turn


def alternate(contestants: Mapping[str, Turn], rounds: int, steps: int) -> dict[str, Times]:
    """Let all programs take ``steps`` steps in turn, ``rounds`` times and once before to warm up.

    A turn begins with a quarter as many steps that are not measured: the other programs have emptied the
    caches.
    """
    ms: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(rounds + 1):
        for name, turn in contestants.items():
            if steps >= 4:
                turn(steps // 4)
            began = time.perf_counter()
            turn(steps)
            if round_:  # the first round is the warm-up
                ms[name].append((time.perf_counter() - began) / steps * 1e3)
    return {name: Times(tuple(of)) for name, of in ms.items()}
