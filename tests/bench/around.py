"""Every family of local learning around a black box, and the controls.

Three blocks with a box after the first. Of MNIST and CIFAR-10 the first 10,000 training images are used. A
family with a number of epochs of its own, the closed form, runs as it says.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from perturbation import perturbed
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

import ffcore.run.train as running
from ffcore.build.assemble import assemble
from ffcore.data.images import ImageSet
from ffcore.interfaces import Progress, Schedule
from ffcore.local import BoxStage
from ffcore.local.callers import close
from ffcore.parts import part
from ffcore.recipe.schema import Recipe
from ffcore.run.data import Data

UNITS, K, TRAINING = 500, 10, 10_000
DENSE = {"kind": "dense", "units": UNITS}
CONV = {"kind": "conv", "channels": 40, "kernel": 5, "stride": 4, "bias": True}


def images(data: str, root: str) -> ImageSet:
    """Return the first training images of a data set, and all of its test images."""
    made: ImageSet = part("dataset", {"kind": data, **({"root": root} if root else {})}).load()
    return replace(made, train=made.train.take(np.arange(min(TRAINING, len(made.train)))))


@dataclass(frozen=True)
class Setting:
    """What is learned: shape of the images, batches, and the first block (an item, its module, its units)."""

    shape: tuple[int, ...]
    batch: int
    epochs: int
    first: Mapping[str, Any]
    module: Callable[[], nn.Module]
    units: int


def dense(inputs: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Flatten(), nn.Linear(inputs, UNITS), nn.ReLU())


def convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 40, 5, 4, 2), nn.ReLU())


SETTINGS = {
    "digits": Setting((1, 8, 8), 25, 20, DENSE, dense(64), UNITS),
    "mnist": Setting((1, 28, 28), 50, 10, DENSE, dense(784), UNITS),
    "cifar10": Setting((3, 32, 32), 50, 10, CONV, convolution, 40 * 8 * 8),
}
BOXES: dict[str, Mapping[str, Any] | None] = {
    "none": None,
    "sign": {"kind": "sign", "threshold": 0.5},
    "quantise, 2 bits": {"kind": "quantise", "bits": 2},
    "winner-take-all": {"kind": "winner-take-all", "group": 10},
    "random trees": {
        "kind": "sklearn",
        "name": "RandomTreesEmbedding",
        "options": {"n_estimators": 50, "max_depth": 5},
    },
    "process": {"kind": "process", "command": ["{python}", "-m", "ffcore_blackbox.server"]},
    "crossbar": {"kind": "crossbar", "units": UNITS},
}
STRAIGHT = ("sign", "quantise, 2 bits", "winner-take-all", "process")
"""Boxes whose output has the shape of their input, so that a gradient can be passed straight through."""


class TwoStages(Schedule):
    """The block before the box learns for half of the epochs, then those after it in one window."""

    def windows(self, progress: Progress, blocks: int) -> tuple[range, ...]:
        """Return the window of the first block, or of the others."""
        return (range(1),) if 2 * progress.epoch < progress.epochs else (range(1, blocks),)


HEAD = {"kind": "dense", "units": "classes", "activation": "identity", "init": "uniform"}
LINEAR = {"goodness": "linear-head", "objective": "cross-entropy", "handoff": "rms"}
RIDGE = {"goodness": "logits", "rule": {"kind": "ridge", "strength": 1}}
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "Forward-Forward": {
        "algorithm": {"kind": "forward-forward"},
        "block": {
            "goodness": "sum-squares",
            "objective": {"kind": "logistic", "temperature": 10},
            "handoff": "rms",
        },
        "contribution": {"kind": "skip-first"},
    },
    "channel classes": {
        "algorithm": {"kind": "channel-class"},
        "block": {"goodness": "channel-partition", "objective": "cross-entropy", "handoff": "rms"},
        "contribution": {"kind": "last"},
    },
    "linear heads": {"block": LINEAR},
    "normalised linear heads": {
        "block": {**LINEAR, "goodness": {"kind": "linear-head", "normalise": True, "init": "uniform"}}
    },
    "heads of two layers": {
        "block": {
            **LINEAR,
            "goodness": {"kind": "items-head", "items": [{"kind": "dense", "units": 100}, HEAD]},
        }
    },
    "linear heads, one window": {"block": LINEAR, "schedule": "one-window"},
    "linear heads, in two stages": {"block": LINEAR, "schedule": TwoStages(), "fit": "finished"},
    "signal propagation": {
        "algorithm": {"kind": "signal-propagation"},
        "block": {"goodness": "signal-similarity", "loss": "signal", "handoff": "rms"},
        "first": {"init": "uniform"},
        "around": {"kind": "signal-input"},
    },
    "closed form": {
        "algorithm": {"kind": "local-errors", "output": False},
        "block": {"rule": {"kind": "forward-projection", "strength": 10}, "handoff": "rms"},
        "last": [{**DENSE, "name": "output", "units": K, "activation": "identity", "block": RIDGE}],
        "schedule": {"kind": "greedy", "epochs": 1},
        "optimizer": {"kind": "sgd", "lr": 1.0},
        "lr_schedule": {"kind": "constant"},
        "fit": "finished",
        "trainer": {"max_epochs": 4, "threads": 1, "accelerator": "cpu"},
    },
}
STILL = {"optimizer": {"kind": "sgd", "lr": 1e-30}}
CHANGE = 0.01  # of a weight, in a perturbation


@dataclass(frozen=True)
class Case:
    """A box on a data set."""

    data: str
    root: str
    box: str

    @property
    def setting(self) -> Setting:
        return SETTINGS[self.data]

    def recipe(self, parts: Mapping[str, Any], seed: int, block: Any = None) -> Recipe:
        """Return the recipe of a family; ``block`` are further options of the first block."""
        own = dict(parts)
        box, fit = BOXES[self.box], own.pop("fit", 2)
        between = [] if box is None else [{"kind": "blackbox", "box": dict(box), "fit": fit}]
        first, wrapped = {**self.setting.first, **own.pop("first", {})}, own.pop("around", None)
        if wrapped is not None:
            first = {**wrapped, "body": first}
        epochs = self.setting.epochs
        return Recipe.model_validate(
            {
                "name": "blackbox",
                "seed": seed,
                "data": {
                    "kind": "python",
                    "target": images,
                    "options": {"data": self.data, "root": self.root},
                    "batch_size": self.setting.batch,
                    "validation": 0.1,
                },
                "algorithm": {"kind": "local-errors"},
                "network": [
                    {**first, "block": block or {}},
                    *between,
                    {**DENSE, "repeat": 2},
                    *own.pop("last", []),
                ],
                "optimizer": {"kind": "adam", "lr": 1e-3},
                "lr_schedule": {"kind": "hold-then-linear"},
                "contribution": {"kind": "last"},
                "trainer": {
                    "max_epochs": epochs,
                    "validate_every": epochs,
                    "threads": 1,
                    "accelerator": "cpu",
                },
                **own,
            }
        )

    def learned(self, parts: Mapping[str, Any], seed: int, block: Any = None) -> running.Run:
        with tempfile.TemporaryDirectory() as folder:
            return running.train(self.recipe(parts, seed, block), Path(folder) / "run")

    def stage(self) -> BoxStage:
        (stage,) = assemble(self.recipe(FAMILIES["linear heads"], 1), self.setting.shape, K).network.boxes
        return stage

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the samples that a recipe learns from, and those of the test."""
        data = Data.open(self.recipe(FAMILIES["linear heads"], 1))
        train, test = data.train, data.images.test
        x, x_test = (torch.tensor(s.x, dtype=torch.float32) * data.images.scale for s in (train, test))
        return x, torch.tensor(train.y), x_test, torch.tensor(test.y)


def accuracy(run: running.Run) -> float:
    close(run.module.network)
    return float(run.results["test"]["accuracy"])


def probe(case: Case, seed: int) -> float:
    """Return the test accuracy of a linear classifier on the output of the box for neutral inputs."""
    run = case.learned(FAMILIES["linear heads"], seed)
    network = run.module.network
    seen: list[Tensor] = []
    stage = network.boxes[0] if network.boxes else network.blocks[0]
    stage.register_forward_hook(lambda module, args, out: seen.append(out.flatten(1)))
    x, y, x_test, y_test = case.tensors()
    for part_of in (x, x_test):
        network.goodness(run.module.algorithm.neutral(part_of))
    accuracy(run)
    classifier = LogisticRegression(max_iter=300).fit(seen[0].numpy(), y.numpy())
    return float(classifier.score(seen[1].numpy(), y_test.numpy()))


def by_hand(case: Case, how: str, seed: int) -> float:
    """Return the test accuracy of a control in plain torch, with the layers, batches and epochs of a recipe.

    "straight": the box is the identity in the backward pass. "cut": the first layer learns with a linear head
    for half of the epochs, then the layers after the box by backpropagation. "perturbed": the first layer
    learns by simultaneous perturbation (Spall 1992) of the loss behind the box, the others by
    backpropagation, with as many rows through the box as a local method has.
    """
    torch.manual_seed(seed)
    x, y, x_test, y_test = case.tensors()
    setting, stage = case.setting, case.stage()
    first, epochs = setting.module(), setting.epochs
    width = stage(normal(first(x[:2]))).flatten(1).shape[1]
    rest = nn.Sequential(
        *(nn.Linear(width, UNITS), nn.ReLU(), nn.Linear(UNITS, UNITS), nn.ReLU(), nn.Linear(UNITS, K))
    )
    head = nn.Linear(setting.units, K)
    own = list(first.parameters())

    def adam(*modules: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam([p for module in modules for p in module.parameters()], lr=1e-3)

    def steps(epochs: int, optimizer: torch.optim.Adam, loss: Callable[[Tensor], Tensor]) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(setting.batch):
                optimizer.zero_grad()
                loss(rows).backward()
                optimizer.step()

    def hidden(x: Tensor) -> Tensor:
        return normal(first(x))

    def straight(rows: Tensor) -> Tensor:
        h = hidden(x[rows])
        return F.cross_entropy(rest((h + (stage(h) - h).detach()).flatten(1)), y[rows])

    def behind(rows: Tensor) -> Tensor:
        return F.cross_entropy(rest(stage(hidden(x[rows]).detach()).flatten(1)), y[rows])

    def head_only(rows: Tensor) -> Tensor:
        return F.cross_entropy(head(hidden(x[rows]).flatten(1)), y[rows])

    def fitted(epoch: int, when: int) -> None:
        with torch.no_grad():
            stage.fit_at = when
            stage.fit_if_due(epoch, epoch > 0, lambda: hidden(x).split(1000))

    fitted(0, 2)
    if how == "straight":
        steps(epochs, adam(first, rest), straight)
    elif how == "cut":
        steps(epochs // 2, adam(first, head), head_only)
        fitted(1, 1)
        steps(epochs // 2, adam(rest), behind)
    else:
        steps(epochs // 2, adam(first, rest), lambda rows: perturbed(own, CHANGE, lambda: behind(rows)))
    with torch.no_grad():
        right = [
            (rest(stage(hidden(some)).flatten(1)).argmax(1) == classes).float()
            for some, classes in zip(x_test.split(1000), y_test.split(1000), strict=True)
        ]
    stage.box.close()
    return float(torch.cat(right).mean())


def normal(h: Tensor) -> Tensor:
    """Return samples with a mean square of 1, as the handoff rms."""
    return h / (h.square().mean(tuple(range(1, h.ndim)), keepdim=True).sqrt() + 1e-8)


def family(case: Case, name: str, seed: int) -> float:
    return accuracy(case.learned(FAMILIES[name], seed))


def random_first(case: Case, seed: int) -> float:
    return accuracy(case.learned(FAMILIES["linear heads"], seed, STILL))


def backprop_after(case: Case, seed: int) -> float:
    return accuracy(case.learned({"algorithm": {"kind": "backprop"}}, seed, {"handoff": "rms"}))


OWN: dict[str, Callable[[Case, int], float]] = {
    name: partial(lambda case, seed, name: family(case, name, seed), name=name) for name in FAMILIES
}
CONTROLS: dict[str, Callable[[Case, int], float]] = {
    "probe of the box": probe,
    "first block random": random_first,
    "backprop after it": backprop_after,
    "head, then cut": partial(lambda case, seed, how: by_hand(case, how, seed), how="cut"),
    "straight through": partial(lambda case, seed, how: by_hand(case, how, seed), how="straight"),
    "perturbed": partial(lambda case, seed, how: by_hand(case, how, seed), how="perturbed"),
}


def possible(title: str, box: str) -> bool:
    return title not in ("head, then cut", "straight through", "perturbed") or (
        box != "none" and (title != "straight through" or box in STRAIGHT)
    )
