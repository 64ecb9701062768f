"""Trainings of the GPU kit: runs that stop in time, resume, and bring their energy."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_keep import LAST
from gpu_steps import TINY, shape_of, step_of

from ffcore.data.arrays import InMemory
from ffcore.errors import TimeUpError, UserError
from ffcore.recipe.load import load
from ffcore.run.resume import resume
from ffcore.run.train import train

RUNS: dict[str, tuple[str, list[str]]] = {
    "vgg8b-predsim": ("cifar10/vgg8b-predsim", []),
    "channel-resnet17": ("cifar10/channel-resnet17", []),
    "ff-2000x4": ("mnist/ff-fast-2000x4", []),
    "ff-2000x4-backprop": ("mnist/ff-2000x4-backprop", []),
}
"""Recipe and overrides of a training, in the order of their value."""

FILES = {"cifar10": "cifar-10-batches-bin", "mnist": "MNIST"}
SAMPLES = {"cifar10": 45_000, "mnist": 50_000}
REACHED = 0.984  # the accuracy of the energy audit's backprop on MNIST, see docs/audit.md
SHARE = 0.8  # of the time for training; the rest is for validations, the test and the start


def training(
    name: str, device: torch.device, until: float, folder: Path, *, root: Path | None, bf16: bool, tiny: bool
) -> dict[str, Any]:
    """Begin or resume a training, and stop it in time.

    The number of epochs is what the time allows, at most that of the recipe; a run that is resumed keeps its
    number. The schedule of the learning rate then ends with the run.

    Args:
        name: of RUNS.
        device: where to train.
        until: time of `time.monotonic` at which it has to be stopped.
        folder: directory of run directories.
        root: directory of the data sets.
        bf16: whether to use bf16-mixed.
        tiny: random data and small networks.

    Raises:
        UserError: the data are not there.
    """
    recipe_name, overrides = RUNS[name]
    kind = load(recipe_name).data.dataset.kind
    dataset = _random(shape_of(kind)) if tiny else None
    if dataset is None and (root is None or not (root / FILES[kind]).is_dir()):
        raise UserError(f"no {FILES[kind]} in {root}: give the directory of the data sets by --data")
    path = folder / name
    finished = path / "results.json"
    seconds = max(1.0, until - time.monotonic())
    state = "finished"
    if not finished.exists():
        try:
            if (path / LAST).exists():
                resume(path, dataset=dataset, max_time=seconds, report=False)
            else:
                rate = _rate(recipe_name, device, bf16=bf16, tiny=tiny)
                epochs = _epochs(recipe_name, rate, seconds, tiny)
                where = [] if tiny else [f"data.root={root}"]
                fast = ["data.batch_size=20", "data.validation=0.1"] if tiny else []
                given = [
                    *(overrides + (TINY[recipe_name] if tiny else []) + where + fast),
                    f"trainer.max_epochs={epochs}",
                    f"trainer.validate_every={max(1, epochs // 10)}",
                    f"trainer.accelerator={'cpu' if device.type == 'cpu' else 'cuda'}",
                    f"trainer.precision={'bf16-mixed' if bf16 else '32-true'}",
                ]
                train(load(recipe_name, given), path, dataset=dataset, max_time=seconds, report=False)
        except TimeUpError:
            state = "paused"
    return {"state": state, **_record(path)}


def _rate(name: str, device: torch.device, *, bf16: bool, tiny: bool) -> float:
    """Return samples a second of the step."""
    batch = 20 if tiny else load(name).data.batch_size
    made = step_of(
        name, device, batch=batch, bf16=bf16, compile=False, tiny=tiny, seconds=0.05 if tiny else 1.0
    )
    return float(made["samples_per_s"])


def _epochs(name: str, rate: float, seconds: float, tiny: bool) -> int:
    recipe = load(name)
    if tiny:
        return 2
    possible = int(SHARE * seconds * rate / SAMPLES[recipe.data.dataset.kind])
    return max(1, min(recipe.trainer.max_epochs, possible))


def _random(shape: tuple[int, ...]) -> InMemory:
    random = np.random.default_rng(0)
    x, y = random.integers(256, size=(120, *shape), dtype=np.uint8), np.arange(120) % 10
    return InMemory(x[:100], y[:100], x[100:], y[100:])


def _record(path: Path) -> dict[str, Any]:
    """Return what a run has written so far: steps, costs, the last epoch, and results if it is finished.

    ``reached`` is the row of the first validation with the accuracy REACHED: epoch and seconds of learning.
    """
    found: dict[str, Any] = {"run": path.name}
    if (path / LAST).exists():
        state = torch.load(path / LAST, mmap=True, map_location="cpu", weights_only=False)
        found |= {"step": state["global_step"], "costs": state["callbacks"].get("Metering")}
    if (path / "metrics.csv").exists():
        with (path / "metrics.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found |= {"epochs": len(rows), "last": rows[-1] if rows else None}
        measured = [(float(row["val_accuracy"]), row["epoch"]) for row in rows if row.get("val_accuracy")]
        found["best_validation"] = max(measured, default=None)
        found["reached"] = next((row for row in rows if float(row.get("val_accuracy") or 0) >= REACHED), None)
    if (path / "results.json").exists():
        results = json.loads((path / "results.json").read_text(encoding="utf-8"))
        kept = ("test", "val", "costs", "device", "train_s", "wall_s", "peak_memory", "versions", "commit")
        found["results"] = {key: results[key] for key in kept if key in results}
    return found
