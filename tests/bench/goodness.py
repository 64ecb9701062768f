"""Forward-Forward with every goodness function.

    python tests/bench/goodness.py [--kept FILE] [--write docs/plugins/goodness.md | --plugin my.py]

Network, data, optimiser and epochs are those of digits/ff, on MNIST two blocks and fewer epochs. Two settings
depend on the function, threshold and learning rate: the best of a grid on held-out training samples of
digits, the first of equal ones. ``--kept`` keeps the errors of all runs: an interrupted table is resumed.
``--plugin`` measures the energies of a plugin file beside the sum of squares.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from pages import fill, mean
from turns import alternate, loop

import ffcore
from ffcore.interfaces import Context
from ffcore.parts import part
from ffcore.plugin import manager
from ffcore.run.environment import git_commit
from ffcore_std.bodies import Dense

UNITS, K, N = 500, 10, 100
SEEDS, EPOCHS, ROUNDS = (1, 2, 3), 5, 15
BASE = "sum-squares"
PAPER = {  # error in percent on MNIST by the goodness of each label, as on the authors' project page
    "sum-squares": ("sum_of_squares and six more", 1.95),
    "sparse-l1": ("sparse_l1_local", 1.89),
    "huber-norm": ("huber_norm_local", 1.85),
    "outlier-trimmed-energy": ("outlier_trimmed_energy_local", 59.45),
    "oja": ("oja_local", 2.60),
    "bcm": ("bcm_local", 90.21),
    "attention-weighted": ("attention_weighted_local", 1.97),
    "fractal-dimension": ("fractal_dimension_local", 1.97),
    "game-theoretic": ("game_theoretic_local", 1.83),
    "decorrelation": ("decorrelation_local", 2.05),
    "info-nce": ("info_nce_local, nt_xent_local", 2.01),
    "predictive-coding": ("predictive_coding_local", 1.97),
    "softmax-energy-margin": ("softmax_energy_margin_local", 2.09),
    "triplet-margin": ("triplet_margin_local", 1.94),
}
OTHERS = ("mean-absolute", "max", "negative-sum-squares")
RATES = (1e-3, 3e-3)
THRESHOLDS = (1.0, 0.5, 0.25)  # in goodness of an activity of ones
SEARCH: dict[str, Any] = {"seed": 4, "data.validation": 0.3, "trainer.max_epochs": 10}
MNIST: dict[str, Any] = {
    "seed": 1,
    "trainer.max_epochs": EPOCHS,
    "data": {"kind": "mnist", "batch_size": N, "validation": 10000},
    "network": [{"kind": "dense", "units": UNITS, "repeat": 2}],
}


@dataclass(frozen=True)
class Setting:
    """A learning rate, and a threshold in goodness of an activity of ones."""

    lr: float
    threshold: float

    def overrides(self, kind: str) -> dict[str, Any]:
        """Return the overrides of digits/ff for this goodness: its temperature is 10 of 500 units."""
        goodness = part("goodness", kind)
        goodness.setup(Context((UNITS,), K))
        unit = float(goodness.eval()(torch.ones(1, UNITS)))
        objective = {
            "kind": "logistic",
            "threshold": self.threshold * unit,
            "temperature": abs(unit) / 50 or 1.0,
        }
        return {"block.goodness": kind, "block.objective": objective, "optimizer.lr": self.lr}


class Bench:
    """Errors of runs, by their overrides.

    Args:
        kept: file with the errors of earlier runs.
    """

    def __init__(self, kept: Path | None) -> None:
        self.kept = kept
        self.known: dict[str, dict[str, float]] = {}
        if kept is not None and kept.exists():
            self.known = json.loads(kept.read_text(encoding="utf-8"))

    def error(self, split: str, overrides: dict[str, Any]) -> float:
        """Return the error in percent of a run of digits/ff on "validation" or "test"."""
        key = json.dumps(overrides, sort_keys=True)
        if key not in self.known:
            self.known[key] = self._run(overrides)
            print(key, flush=True)
            if self.kept is not None:
                self.kept.write_text(json.dumps(self.known, indent=0), encoding="utf-8")
        return self.known[key][split]

    def _run(self, overrides: dict[str, Any]) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            run = ffcore.train("digits/ff", run_dir=Path(folder) / "run", report=False, **overrides)
        results = run.results
        return {"validation": results.val.error, "test": results.test.error}

    def chosen(self, kind: str) -> Setting:
        """Return the setting of the grid with the least error on held-out training samples of digits."""
        grid = [Setting(lr, threshold) for threshold, lr in product(THRESHOLDS, RATES)]
        return min(grid, key=lambda s: self.error("validation", {**s.overrides(kind), **SEARCH}))


def times(kinds: Sequence[str]) -> dict[str, float]:
    """Return the time of a learning step of the MNIST network, relative to that with a sum of squares."""
    x, y, turns = torch.rand(N, 1, 28, 28), torch.randint(K, (N,)), {}
    for kind in kinds:
        bodies = [Dense(shape, UNITS) for shape in ((1, 28, 28), (UNITS,))]
        blocks = [ffcore.LocalBlock(body, kind, objective="logistic", handoff="rms") for body in bodies]
        net = ffcore.Network(blocks, "forward-forward", example=x[:2], classes=K)
        optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-3)
        turns[kind] = loop(lambda net=net, optimizers=optimizers: net.learn(x, y, optimizers))
    ms = alternate(turns, ROUNDS, 8)
    return {kind: ms[kind].median / ms[BASE].median for kind in kinds}


def table(bench: Bench, kinds: Sequence[str]) -> list[str]:
    """Return the rows of the table, a goodness a row."""
    head = ("function", "kind", "θ", "rate", "digits", "MNIST", "authors' MNIST", "time")
    lines = ["| " + " | ".join(head) + " |", "| --- | --- |" + " ---: |" * 6]
    settings = {kind: bench.chosen(kind) for kind in kinds}
    own = {kind: setting.overrides(kind) for kind, setting in settings.items()}
    digits = {kind: [bench.error("test", {**own[kind], "seed": seed}) for seed in SEEDS] for kind in kinds}
    mnist = {kind: bench.error("test", {**own[kind], **MNIST}) for kind in kinds}
    relative = times(kinds)
    for kind, setting in settings.items():
        name, paper = PAPER.get(kind, ("–", None))
        cells = (
            name,
            f"`{kind}`",
            f"{setting.threshold:g}",
            f"{setting.lr:g}",
            mean(digits[kind]),
            f"{mnist[kind]:.2f}",
            "–" if paper is None else f"{paper:.2f}",
            f"{relative[kind]:.2f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def of_plugin(file: str) -> list[str]:
    """Load a plugin file and return the kinds of its energies."""
    ffcore.add_plugin(file)
    entries = manager.current().registry.entries("goodness")
    return [e.name for e in entries if e.plugin == Path(file).stem and e.load().form == "energy"]


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=Path)
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument("--plugin")
    rows.add_argument("--write", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    kinds = [*PAPER, *OTHERS] if given.plugin is None else [BASE, *of_plugin(given.plugin)]
    text = "\n".join(table(Bench(given.kept), kinds))
    commit = (git_commit() or "no commit")[:7]
    where = f"One thread, {platform.machine()}, torch {torch.__version__}, at {commit}."
    print(text)
    if given.write is not None:
        fill(given.write, "measured", f"{text}\n\n{where}\n")


if __name__ == "__main__":
    main()
