from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import ffcore
from ffcore.exports.step import LearningStep
from ffcore.interfaces import Progress
from ffcore.network import Network

SHAPE, CLASSES = (1, 8, 8), 4

NETWORKS: dict[str, dict[str, Any]] = {
    "forward-forward": {
        "recipe": "digits/ff",
        "network": [{"kind": "dense", "units": 20, "repeat": 2}],
    },
    "hard negatives and a readout": {
        "recipe": "digits/ff",
        "network": [{"kind": "dense", "units": 20, "repeat": 2}],
        "algorithm.negatives": {"kind": "hard"},
        "readouts": {"linear": {"kind": "softmax"}},
    },
    "local error signals": {"recipe": "digits/mono-forward"},
    "channel classes": {
        "recipe": "digits/channel",
        "network": [{"kind": "conv-bn", "channels": 8, "kernel": 3}],
    },
    "hebbian": {"recipe": "digits/softhebb"},
    "closed form": {"recipe": "digits/cafo-ridge"},
    "predictive": {
        "recipe": "digits/pff",
        "network": [{"kind": "predictive", "units": [10, 10], "steps": 2, "group": 5, "latents": 4}],
    },
}


def network(name: str) -> Network:
    changes = dict(NETWORKS[name])
    return ffcore.from_recipe(changes.pop("recipe"), shape=SHAPE, classes=CLASSES, **changes)


def samples(rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, *SHAPE, generator=generator), torch.randint(CLASSES, (rows,), generator=generator)


def batched(step: LearningStep) -> list[bool]:
    """Which inputs of a step have a row for each sample."""
    return [True, True, False, *[False] * len(step.state), *[True] * len(step.draws)]


def distance(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).abs().max()) if a.numel() else 0.0


FIRST = Progress(0, 0, 20)
