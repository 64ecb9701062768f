"""ffcore as started by `ffcore run`, stopped between batches to be measured in turns with other programs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import numpy as np
from turns import Requests

from ffcore.data.arrays import InMemory
from ffcore.recipe.schema import Recipe
from ffcore.run.train import train

SAMPLES, TEST = 40_000, 100


def recipe(units: Sequence[int], **changes: Any) -> Recipe:
    """Returns supervised Forward-Forward with the shapes of mnist/ff-2000x4."""
    return Recipe.model_validate(
        {
            "name": "bench",
            # a placeholder: `run` replaces the data set by `images`
            "data": {"kind": "digits", "validation": 0},
            "algorithm": {"kind": "forward-forward"},
            "network": [{"kind": "dense", "units": u} for u in units],
            "block": {
                "goodness": {"kind": "sum-squares"},
                "objective": {"kind": "logistic"},
                "handoff": {"kind": "rms"},
            },
            "trainer": {"threads": 1, "accelerator": "cpu", "max_epochs": 1000},
        }
        | changes
    )


def images(shape: tuple[int, ...] = (1, 28, 28)) -> InMemory:
    """Returns random bytes in the shape of MNIST."""
    random = np.random.default_rng(0)
    x = random.integers(256, size=(SAMPLES, *shape), dtype=np.uint8)
    y = random.integers(10, size=SAMPLES)
    return InMemory(x, y, x[:TEST], y[:TEST])


class _TakesSteps(L.Callback):
    """Lets the training take the requested number of steps, then waits.

    Reports the seconds of the algorithm and of making batches, which are not part of the engine's overhead.
    """

    def __init__(self, requests: Requests) -> None:
        self.requests = requests
        self.left = 0
        self.spent = {"learn": 0.0, "_gather": 0.0}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._time(pl_module.algorithm, "learn")
        self._time(trainer.train_dataloader, "_gather")
        self.left = self.requests.next()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.left -= 1
        if self.left == 0:
            self.requests.done(tuple(self.spent.values()))
            self.left = self.requests.next()
        trainer.should_stop = self.left == 0  # the last request was 0 steps

    def _time(self, part: Any, name: str) -> None:
        method = getattr(part, name)

        def timed(*args: Any) -> Any:
            began = time.perf_counter()
            made = method(*args)
            self.spent[name] += time.perf_counter() - began
            return made

        setattr(part, name, timed)  # on the instance: the class is not changed


def run(units: Sequence[int], changes: dict[str, Any], requests: Requests) -> None:
    """Run a recipe as `ffcore run` does, in a separate process."""
    with TemporaryDirectory() as folder:
        train(
            recipe(units, **changes),
            Path(folder) / "run",
            dataset=images(),
            callbacks=[_TakesSteps(requests)],
        )
