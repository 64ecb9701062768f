"""From backprop to greedy learning on the same networks.

    python tests/bench/ladder.py [--write docs/ladder.md]

Every rung changes the schedule, and the first the algorithm: which blocks share a graph, and so how far a
gradient reaches. Network, data, batches, optimiser, learning rate and epochs of a family are the same. The
greedy rung divides the epochs among the blocks.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import tempfile
from pathlib import Path
from typing import Any

import torch
from pages import mean

import ffcore
from ffcore.run.environment import git_commit

PAGE = Path(__file__).parent / "ladder.md.in"
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Forward-Forward": ("digits/ff", {"network": [{"kind": "dense", "units": 300, "repeat": 4}]}),
    "channel classes": (
        "digits/channel",
        {"network": [{"kind": "conv", "channels": 40, "init": "kaiming", "repeat": 4}]},
    ),
    "pred": (
        "digits/predsim",
        {
            "network": [{"kind": "dense-bn", "units": 300, "repeat": 4}],
            "block.penalties": None,
            "block.objective.weight": 1.0,
        },
    ),
    "predsim": ("digits/predsim", {"network": [{"kind": "dense-bn", "units": 300, "repeat": 4}]}),
}
RUNGS: dict[str, dict[str, Any]] = {
    "backprop": {"algorithm": {"kind": "backprop"}, "schedule": "one-window", "contribution": "last"},
    "deep supervision": {"schedule": "one-window"},
    "windows of 2": {"schedule": {"kind": "windows", "size": 2}},
    "windows of 1": {"schedule": "joint"},
    "greedy": {"schedule": {"kind": "greedy"}},
}


def errors(recipe: str, changes: dict[str, Any], seeds: range, epochs: int) -> list[float]:
    """Return the test error in percent of a run a seed."""
    made = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            run = ffcore.train(
                recipe,
                run_dir=Path(folder) / "run",
                report=False,
                seed=seed,
                readouts=None,
                trainer={"max_epochs": epochs, "threads": 1, "bar": False},
                **changes,
            )
            made.append(run.results.test.error)
    return made


def table(seeds: range, epochs: int) -> list[str]:
    """Return the rows of the table: a family a row, a rung a column."""
    lines = ["| family | " + " | ".join(RUNGS) + " |", "| --- |" + " ---: |" * len(RUNGS)]
    for family, (recipe, changes) in FAMILIES.items():
        cells: list[str] = []
        for rung, more in RUNGS.items():
            cells.append(mean(errors(recipe, {**changes, **more}, seeds, epochs)))
            print(f"{family}, {rung}: {cells[-1]}", flush=True)
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Print the table, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    text = "\n".join(table(range(1, given.seeds + 1), given.epochs))
    print(text)
    if given.write is not None:
        where = f"{given.seeds} seeds, {given.epochs} epochs, {platform.machine()}, torch {torch.__version__}"
        page = PAGE.read_text(encoding="utf-8")
        page = page.replace("{table}", text).replace(
            "{where}", f"{where}, at {(git_commit() or 'no commit')[:7]}"
        )
        given.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
