"""`Learner`: the state of a bundle, and the steps that change it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ffcore.edge import checkpoint
from ffcore.edge.bundle import Bundle
from ffcore.edge.checkpoint import Progress
from ffcore.edge.errors import EdgeError, integer
from ffcore.edge.random import order
from ffcore.edge.solve import solved
from ffcore.edge.stepping import Stepping


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What an epoch gave.

    Attributes:
        epoch: its number, from 0.
        losses: mean loss of every block over the samples.
        samples: number of samples that were learned.
        dropped: number of samples that did not fill a batch of fixed size.
        seconds: duration, without what was learned before a resume.
    """

    epoch: int
    losses: Mapping[str, float]
    samples: int
    dropped: int
    seconds: float


_STILL = 1e-4  # a smaller factor of the learning rates changes nothing that could be measured


class Learner(Stepping):
    """Learns on an inference engine: every step runs the graphs of a bundle and keeps their new state.

    The same seed, samples and batches give the same steps as ffcore on a CPU, but for rounding, the numbers
    of dropout, and learning rates between sixteenths of an epoch, which are interpolated.

    Args:
        bundle: made by `ffcore.edge.load`.
        seed: seed of the order of samples and of all random numbers, at least 0; None: that of the bundle.
        rate: constant factor on the learning rates; None: the schedule of the bundle, which may end at 0.

    Attributes:
        progress: the seed, the number of steps and epochs learned, and the position within the epoch.

    >>> learner = Learner(load("digits-bundle"))                            # doctest: +SKIP
    >>> learner.learn(x, y, epochs=2)[-1].losses                            # doctest: +SKIP
    {'dense1': 0.31, 'dense2': 0.28}
    """

    def __init__(self, bundle: Bundle, seed: int | None = None, rate: float | None = None) -> None:
        super().__init__(bundle)
        if rate is not None and not 0 < rate < math.inf:
            raise EdgeError(f"rate: should be a number above 0, not {rate}")
        self.rate = rate
        about = bundle.about
        self.progress = Progress(integer("seed", about.seed if seed is None else seed, 0), about.steps)

    def step(
        self, x: Any, y: Any = None, *, epoch: float | None = None, draws: Mapping[str, Any] | None = None
    ) -> dict[str, float]:
        """Learn from one batch. Each block's new weights replace the old ones before the next graph runs.

        Args:
            x: (N, *shape) samples: stored values, or inputs of the network.
            y: (N,) classes, or (N, columns) labels or values.
            epoch: the fractional epoch, for learning rates and phases; None: the current one.
            draws: random numbers by the name of the input, in place of the learner's own.

        Returns:
            The loss of every block.

        Raises:
            EdgeError: x or y does not fit; nothing has changed.
            StoppedError: a loss or new weight is not finite. That graph's old state is kept; blocks of
                earlier graphs have learned from the batch.
        """
        made = self.inputs.x(x)
        targets = self.inputs.y(y, len(made))
        rows, now = self.bundle.about.rows, self.progress.epoch if epoch is None else epoch
        if rows is not None and len(made) != rows:
            raise EdgeError(f"x: the bundle learns from batches of {rows} samples, not {len(made)}")
        self._schedule(int(now))
        losses = self._step(made, targets, int(now), self._rate(now), draws)
        self.progress.steps += 1
        return losses

    def learn(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int,
        batch_size: int | None = None,
        on_epoch: Callable[[EpochResult], object] | None = None,
        on_batch: Callable[[], object] | None = None,
    ) -> list[EpochResult]:
        """Learn from a data set, in ffcore's order.

        Args:
            x: (N, *shape) samples.
            y: their targets.
            epochs: number of further epochs; one that a resumed state has begun counts as one.
            batch_size: samples of a batch; None: that of the bundle. The last batch may have fewer.
            on_epoch: called after every epoch.
            on_batch: called after every batch. It may save the state, or end learning by an exception.

        Returns:
            The result of every epoch.

        Raises:
            EdgeError: an argument does not fit; nothing has changed.
            StoppedError: as for `step` and `end_epoch`.
        """
        about = self.bundle.about
        size = about.batch_size if batch_size is None else batch_size
        epochs, size = integer("epochs", epochs, 1), integer("batch_size", size, 1)
        if about.rows is not None and batch_size not in (None, about.rows):
            raise EdgeError(f"batch_size: the bundle learns from batches of {about.rows}, not {batch_size}")
        size = about.rows or size
        x, y, n = self.inputs.check(x, y)
        total, dropped = (-(-n // size), 0) if about.rows is None else divmod(n, size)
        if not total:
            raise EdgeError(f"x: the bundle learns from batches of {size} samples, but there are only {n}")
        results = []
        for _ in range(epochs):
            self._begin(n, size)
            rows = order(self.progress.seed, self.progress.epoch, n)
            parts = (rows[i * size : (i + 1) * size] for i in range(self.progress.position, total))
            results.append(self._epoch(((x[i], y[i]) for i in parts), total, dropped, on_batch))
            if on_epoch is not None:
                on_epoch(results[-1])
        return results

    def learn_from(
        self, batches: Iterable[tuple[Any, Any]], *, on_batch: Callable[[], object] | None = None
    ) -> EpochResult:
        """Learn from a stream of batches (x, y) as one epoch.

        If its length is not known, the learning rate is that of the epoch's beginning. Batches that are
        smaller than the fixed size of a bundle are dropped. To resume within the epoch, give the remaining
        batches.

        Raises:
            EdgeError: there are no batches, or one does not fit.
            StoppedError: as for `step` and `end_epoch`.
        """
        self._begin(0, 0)
        total = len(batches) + self.progress.position if isinstance(batches, Sized) else None
        return self._epoch(batches, total, 0, on_batch)

    def end_epoch(self) -> EpochResult:
        """End the epoch: solve for weights in closed form, and set their sums to zero.

        `learn` and `learn_from` call it; call it yourself after steps of your own.

        Raises:
            StoppedError: sums are singular; all weights and sums are kept.
        """
        about, new = self.bundle.about, {}
        for block, s in about.solutions.items():
            count = int(self.value(s.count))
            if not count:
                continue
            made = solved(block, s, self.value(s.a), self.value(s.b), count)
            if s.bias is not None:
                made, new[s.bias] = made[:-1], made[-1]
            new[s.weight] = made.T
            new |= {name: np.zeros(about.state[name].shape) for name in (s.a, s.b, s.count)}
        for name, array in new.items():
            self.replace(name, array.reshape(about.state[name].shape))
        done = self.progress
        losses = {block: total / max(done.learned, 1) for block, total in done.losses.items()}
        self.progress = Progress(done.seed, done.steps, done.epoch + 1)
        return EpochResult(done.epoch, losses, done.learned, 0, 0.0)

    def save(self, path: str | Path) -> None:
        """Write the state, the position and the seed to an .npz file, complete or not at all.

        Raises:
            EdgeError: the path is a device or a directory.
            StoppedError: the disk is full; an old file is unchanged.
        """
        checkpoint.save(self, Path(path))

    def resume(self, path: str | Path) -> None:
        """Continue from a file of `save`: later steps are bit for bit those without the interruption.

        Raises:
            EdgeError: it is damaged or of another bundle; nothing has changed.
        """
        checkpoint.resume(self, Path(path))

    def adopt(self, state: Mapping[str, Any], progress: Progress) -> None:
        """Replace the whole state, by OrtValues, and the position."""
        self._state.update(state)
        self.progress = progress

    def _rate(self, now: float) -> float:
        """Return the factor of the learning rates.

        Raises:
            EdgeError: the schedule has ended with a factor of almost 0, so that nothing would be learned.
        """
        if self.rate is not None:
            return self.rate
        about = self.bundle.about
        rate = about.rate(now)
        if about.rates and now >= len(about.rates) and rate < _STILL:
            raise EdgeError(
                f"epoch {int(now)}: the learning rates of {self.bundle.path} end with epoch "
                f"{len(about.rates)}, at {rate:.1g} of their start; give a constant rate (rate=0.1, --rate "
                "0.1), or export more epochs"
            )
        return rate

    def _begin(self, samples: int, batch_size: int) -> None:
        p = self.progress
        if p.position and (p.samples, p.batch_size) != (samples, batch_size):
            of = f"{p.samples} samples in batches of {p.batch_size}" if p.samples else "a stream of batches"
            raise EdgeError(f"epoch {p.epoch} was begun with {of}; give the same, or call end_epoch() first")
        p.samples, p.batch_size = samples, batch_size

    def _epoch(
        self,
        batches: Iterable[tuple[Any, Any]],
        total: int | None,
        dropped: int,
        on_batch: Callable[[], object] | None,
    ) -> EpochResult:
        started, p, rows = time.perf_counter(), self.progress, self.bundle.about.rows
        for x, y in batches:
            n = len(x) if hasattr(x, "__len__") else 0
            if rows is not None and n < rows:
                dropped += n
                continue
            losses = self.step(x, y, epoch=p.epoch + (p.position / total if total else 0))
            for block, loss in losses.items():
                p.losses[block] = p.losses.get(block, 0.0) + loss * n
            p.position, p.learned = p.position + 1, p.learned + n
            if on_batch is not None:
                on_batch()
        if not p.position:
            raise EdgeError("there are no batches to learn from")
        return replace(self.end_epoch(), dropped=dropped, seconds=time.perf_counter() - started)
