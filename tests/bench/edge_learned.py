"""What devices learn: accuracy beside torch, in ONNX Runtime, int8 and C; adaptation to changed images."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import copy
import ctypes
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from edge_cases import BATCH, CASES, CHANGES, ENGINES, EPOCHS, IMAGES, MEASURED, NETS, SMALL, Kept, folder
from torch import Tensor

from ffcore.edge import Learner
from ffcore.edge import load as load_bundle
from ffcore.edge.random import order
from ffcore.exports import Training, export
from ffcore.exports.c99 import write_c
from ffcore.exports.run import of_run
from ffcore.network import Network
from ffcore.recipe.load import load
from ffcore.recipe.schema import Recipe
from ffcore.run.data import Data
from ffcore.run.recorded import recipe_of
from ffcore.run.train import train


class Curve(L.Callback):
    """Measures the test accuracy after every epoch."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y
        self.found: list[float] = []

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        net = copy.deepcopy(pl_module.net).eval()
        right = torch.cat([net.scores(rows).argmax(1) for rows in self.x.split(500)]) == self.y
        self.found.append(float(right.float().mean()))


def accuracy(root: str) -> Kept:
    """Yield test accuracies after every epoch, by recipe, engine and seed."""
    for name, epochs in EPOCHS.items():
        for seed in (1,) if name.startswith("mnist") else (1, 2, 3):
            changes = {"trainer.max_epochs": epochs, "trainer.threads": 1, "seed": seed, **CASES[name][1]}
            if name.startswith("mnist"):
                changes["data.root"] = root
            with folder() as where:
                yield from accuracies(name, seed, epochs, where, load(name, changes))


def accuracies(name: str, seed: int, epochs: int, where: Path, recipe: Recipe) -> Kept:
    """Yield those of one run: with torch, and from its initial weights with its random numbers without."""
    data = Data.open(recipe)
    x, y = np.asarray(data.images.test.x), np.asarray(data.images.test.y)
    stored = {"scale": data.images.scale, "mean": data.mean, "std": data.std}
    curve = Curve(scaled(stored, x), torch.as_tensor(y))
    train(recipe, where / "run", report=False, callbacks=[curve])
    yield (name, "torch", str(seed)), curve.found
    net, training = of_run(where / "run", initial=True)
    for engine, int8 in ENGINES.items():
        learner = Learner(load_bundle(export(net, where / engine, training=training, int8=int8)))
        found: list[float] = []
        for _ in range(epochs):
            learner.learn(data.train.x, data.train.y, epochs=1)
            found.append(learner.evaluate(x, y))
        yield (name, engine, str(seed)), found
    if name == "digits/ff":
        rows = scaled(stored, np.asarray(data.train.x)).flatten(1).numpy()
        tests = scaled(stored, x).flatten(1).numpy()
        yield (name, "C99", str(seed)), in_c(net, training, (rows, np.asarray(data.train.y)), (tests, y))


def scaled(stored: Mapping[str, Any], x: np.ndarray) -> Tensor:
    """Return inputs of a network from stored values, as the loader does."""
    values = torch.as_tensor(np.asarray(x)).float() * stored["scale"]
    shape = (-1, *[1] * (values.dim() - 2))
    return (values - torch.tensor(stored["mean"]).view(shape)) / torch.tensor(stored["std"]).view(shape)


def library(net: Network, where: Path) -> ctypes.CDLL:
    """Return a compiled network."""
    write_c(net, where, overwrite=True)
    command = ["cc", "-O2", "-std=c99", "-shared", "-fPIC", "ffnet.c", "-o", "net.so", "-lm"]
    subprocess.run(command, cwd=where, check=True)
    made = ctypes.CDLL(str(where / "net.so"))
    made.ffnet_learn.restype = ctypes.c_float
    return made


def pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def in_c(
    net: Network,
    training: Training,
    learned: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
) -> list[float]:
    """Return accuracies after every epoch of learning in C, one sample after another."""
    (x, y), epochs = learned, training.epochs
    with folder() as where:
        made = library(net, where)
        chance = np.random.default_rng(net.seed)
        rates = (ctypes.c_float * len(net.blocks)).in_dll(made, "ffnet_rate")
        first, found = list(rates), []
        scores = np.zeros(net.classes, np.float32)
        for epoch in range(epochs):
            for i, rate in enumerate(first):
                rates[i] = rate * (training.rate(epoch, epochs) if training.rate else 1.0)
            for n in order(net.seed, epoch, len(x)):
                wrong = (y[n] + chance.integers(1, net.classes)) % net.classes
                made.ffnet_learn(pointer(x[n]), int(y[n]), int(wrong), None)
            made_of = [made.ffnet_predict(pointer(row), pointer(scores)) for row in test[0]]
            found.append(float(np.mean(np.array(made_of) == test[1])))
    return found


def adaptation(root: str) -> Kept:
    """Yield accuracies on ordinary and on changed images, before and while a device learns."""
    for name, (recipe, changes) in NETS.items():
        overrides = {
            **changes,
            "trainer.max_epochs": 3,
            "trainer.threads": 1,
            "data.root": root,
            "network": SMALL,
        }
        with folder() as where:
            train(load(recipe, overrides), where / "run", report=False)
            data = Data.open(recipe_of(where / "run"))
            net, training = of_run(where / "run", batch_size=BATCH, epochs=1, rate=None)
            bundle = export(net, where / "bundle", training=training)
            for title, change in CHANGES.items():
                for kept in (0, 500):
                    yield (name, title, f"memory of {kept}"), adapted(bundle, data, change, kept)


def adapted(
    bundle: Path, data: Data, change: Callable[[np.ndarray], np.ndarray], kept: int
) -> list[tuple[int, float, float]]:
    """Return images learned, and the accuracies on 2,000 ordinary and changed test images.

    The images of the stream are validation samples of the run, in batches of 20; with a memory, each batch
    gets 20 of the first training images besides.
    """
    learner = Learner(load_bundle(bundle, check=False))
    test, random = data.images.test, np.random.default_rng(0)
    x, y = np.asarray(test.x[:2000]), np.asarray(test.y[:2000])
    stream = data.val
    assert stream is not None
    found = [(0, learner.evaluate(x, y), learner.evaluate(change(x), y))]
    for first in range(0, IMAGES[-1], BATCH):
        images, labels = (
            change(np.asarray(stream.x[first : first + BATCH])),
            np.asarray(stream.y[first : first + BATCH]),
        )
        if kept:
            old = random.integers(kept, size=BATCH)
            images = np.concatenate([images, data.train.x[old]])
            labels = np.concatenate([labels, data.train.y[old]])
        learner.step(images, labels)
        if first + BATCH in MEASURED:
            found.append((first + BATCH, learner.evaluate(x, y), learner.evaluate(change(x), y)))
    return found
