"""The cost of a step with our progress bar, with Lightning's and without one, measured in turns.

python tests/bench/bar.py [ROUNDS] [STEPS]

Lightning's RichProgressBar shows the values that a module logs. To show the losses of the blocks, as ours
does, either the module logs them every step ("logged"), or the bar reads the meter, at most twice a second
("asked"). Measured is CPU time, with all threads of the process: other work on the machine changes it least.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader
from turns import Requests, Times, apart

import ffcore
from ffcore.engine.bar import Bar

BARS = ("none", "ours", "lightning", "lightning, logged", "lightning, asked")


class Asked(RichProgressBar):
    """Lightning's bar with the losses and separations of the blocks, read at most twice a second."""

    _next, _read = 0.0, None

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        if time.monotonic() >= self._next or self._read is None:
            self._next = time.monotonic() + 0.5
            figures = pl_module.meter.read()
            self._read = {f"{n} {k}": f[k] for n, f in figures.items() for k in ("loss", "separation")}
        return self._read


class Logs(L.Callback):
    """Logs a loss for each block, for the bar."""

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, i: int) -> None:
        for name in module.net.local.learners:
            module.log(f"{name} loss", torch.zeros(()), prog_bar=True)


class TakesSteps(L.Callback):
    """Lets the training take the requested number of steps, then waits."""

    def __init__(self, requests: Requests) -> None:
        self.requests, self.left, self.began = requests, 0, 0.0

    def on_train_start(self, *args: Any) -> None:
        self._wait()

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        self.left -= 1
        if not self.left:
            self.requests.done((time.process_time() - self.began,))
            self._wait()
            trainer.should_stop = not self.left

    def _wait(self) -> None:
        self.left = self.requests.next()
        self.began = time.process_time()


class Endless(torch.utils.data.IterableDataset):
    """The same batch again and again."""

    def __len__(self) -> int:
        return 1_000_000

    def __iter__(self):
        x, y = torch.rand(50, 64), torch.randint(10, (50,))
        while True:
            yield x, y


def main(bar: str, requests: Requests) -> None:
    """Train with one of the bars, in a terminal whose output is discarded."""

    sink = open(os.devnull, "w")  # noqa: SIM115
    terminal = {"file": sink, "force_terminal": True, "width": 120}
    options = {"refresh_rate": 2, "console_kwargs": terminal}
    callbacks = {
        "none": [],
        "ours": [Bar(Console(**terminal), "bench")],
        "lightning": [RichProgressBar(**options)],
        "lightning, logged": [Logs(), RichProgressBar(**options)],
        "lightning, asked": [Asked(**options)],
    }[bar]
    blocks = [
        ffcore.LocalBlock(
            nn.Sequential(nn.Linear(*size), nn.ReLU()),
            goodness="sum-squares",
            objective={"kind": "logistic", "threshold": 2.0},
            handoff="rms",
        )
        for size in ((64, 100), (100, 100), (100, 100), (100, 100))
    ]
    algorithm = {"kind": "forward-forward", "labels": "overlay", "negatives": "wrong-label"}
    net = ffcore.Network(blocks, algorithm, example=torch.rand(2, 64), classes=10)
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(each, RichProgressBar) for each in callbacks),
        callbacks=[*callbacks, TakesSteps(requests)],
    )
    module = ffcore.ForwardOnly(net, torch.optim.SGD, lr=1e-3)
    trainer.fit(module, DataLoader(Endless(), batch_size=None))


if __name__ == "__main__":
    rounds, steps = (int(given) for given in (*sys.argv[1:], 7, 1000)[:2])
    with apart({bar: partial(main, bar) for bar in BARS}) as contestants:
        ms: dict[str, list[float]] = {bar: [] for bar in BARS}
        for round_ in range(rounds + 1):
            for bar, contestant in contestants.items():
                contestant(steps)
                if round_:
                    ms[bar].append(contestant.reported[0] / steps * 1e3)
    for bar, each in ms.items():
        print(f"{bar:20} {Times(tuple(each))} ms of a CPU a step")
