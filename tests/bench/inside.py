"""Learning inside a program that holds the weights, and around it.

    python tests/bench/inside.py [--write docs/plugins/zero.md] [--seeds 1,2,3]

Two layers of 100 in programs with hidden faults (`digits/ffzero-program`). Takes some minutes on one core.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import contextlib
import io
import tempfile
import warnings
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pages import fill, mean

import ffcore
from ffcore.data.digits import Digits
from ffcore.data.images import Split
from ffcore.local.callers import close
from ffcore.run.finished import Run

NAME = "digits/ffzero-program"
STILL = {"optimizer": {"kind": "sgd", "lr": 1e-30}, "rule": {"kind": "directional"}}
IDEAL = {"kind": "dense", "units": 100, "activation": "tanh", "bias": False}
GRADIENT = {"rule": None}
SCALES = (1, 2, 4, 8, 16, 32, 64)
"""Factors of a layer's weights, of which the best pair is chosen on 144 training images."""


def program(device: int, **block: Any) -> dict[str, Any]:
    command = ["{python}", "-m", "ffcore_zero.device", str(device)]
    return {"kind": "program", "units": 100, "command": command, "block": block}


AROUND = {"goodness": {"kind": "linear-head", "init": "uniform"}, "objective": "cross-entropy", **GRADIENT}
ADAM = {"kind": "adam", "lr": 1e-3}
NETWORKS: dict[str, dict[str, Any]] = {
    "**inside both programs**": {},
    "inside the second, the first random": {"network": [program(0, **STILL), program(1)]},
    "around: random programs, a layer with a gradient after them": {
        "schedule": "joint",
        "network": [
            program(0, **STILL),
            program(1, **STILL),
            {**IDEAL, "block": {**AROUND, "optimizer": ADAM}},
        ],
    },
    "around: such a layer before, between and after them": {
        "schedule": "joint",
        "network": [
            {**IDEAL, "block": {**AROUND, "optimizer": ADAM}},
            program(0, **STILL),
            {**IDEAL, "block": {**AROUND, "optimizer": ADAM}},
            program(1, **STILL),
            {**IDEAL, "block": {**AROUND, "optimizer": ADAM}},
        ],
    },
    "the rule in layers without faults": {"network": [{**IDEAL, "repeat": 2}]},
    "gradients in layers without faults": {"network": [{**IDEAL, "repeat": 2, "block": GRADIENT}]},
}


def learned(seed: int, **changes: Any) -> Run:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        options = {"seed": seed, "trainer.bar": False, **changes}
        return ffcore.train(NAME, run_dir=Path(folder) / "run", report=False, **options)


def loaded(run: Run, seed: int) -> tuple[float, float]:
    """Return the test errors of the ideal weights in the programs: as they are, and at the best scales."""
    made = learned(seed, **{"trainer.max_epochs": 2, "optimizer.lr": 1e-30})
    digits = Digits().load()

    def error(split: Split, scales: Sequence[float]) -> float:
        with torch.no_grad():
            pairs = zip(made.module.network.blocks, run.module.network.blocks, scales, strict=True)
            for block, known, scale in pairs:
                block.body.weight.copy_(scale * next(p for p in known.body.parameters()))
            x = torch.tensor(split.x, dtype=torch.float32) / 16
            wrong = made.module.scores(x).argmax(1) != torch.tensor(split.y)
        return 100 * float(wrong.float().mean())

    calibration = digits.train.take(np.arange(144))
    best = min(product(SCALES, repeat=2), key=lambda scales: error(calibration, scales))
    found = error(digits.test, (1, 1)), error(digits.test, best)
    close(made.module.network)
    return found


def table(seeds: Sequence[int]) -> str:
    errors: dict[str, list[float]] = {}
    for name, changes in NETWORKS.items():
        runs = [learned(seed, **changes) for seed in seeds]
        errors[name] = [float(run.results.test.error) for run in runs]
        print(name, errors[name], flush=True)
    both = [loaded(run, seed) for run, seed in zip(runs, seeds, strict=True)]
    for i, name in enumerate(("those weights, loaded into the programs", "the same, at the best scales")):
        errors[name] = [found[i] for found in both]
    lines = ["| learning | test error |", "| --- | ---: |"]
    for name, found in errors.items():
        lines.append(f"| {name} | {mean(found)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and, with --write, write into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", type=Path, help="the page")
    parser.add_argument("--seeds", default="1,2,3")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    text = table([int(seed) for seed in given.seeds.split(",")])
    print(text)
    if given.write is not None:
        fill(given.write, "inside", f"{text}\n")


if __name__ == "__main__":
    main()
