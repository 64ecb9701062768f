"""Write README.md beside this file: one row for each results.json kept here. Nothing is typed by hand.

python docs/results/write.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ffcore.recipe.load import load

HERE = Path(__file__).parent
HEAD = """# What was measured

Each row is one run, its `results.json` kept in this folder; `python docs/results/write.py` makes this page
from them. Errors are on the test split, which chooses nothing. A paper's figure stands beside ours with how
well it is known; runs that are shorter than the paper's show both numbers of epochs.

"""
COLUMNS = {
    "recipe": "---",
    "test error": "---:",
    "of each source alone": "---",
    "paper": "---:",
    "epochs (paper's)": "---:",
    "time learning": "---:",
    "device": "---",
    "seed": "---:",
    "commit": "---",
}


def line(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |\n"


def row(results: dict[str, Any]) -> str:
    """One line of the table."""
    paper = load(results["recipe"]).paper
    alone = ", ".join(
        f"{name} {100 * (1 - accuracy):.2f}"
        for name, accuracy in results["test"]["per_block_accuracy"].items()
    )
    epochs = f"{results['epochs']} ({paper.epochs})" if paper and paper.epochs else f"{results['epochs']}"
    minutes, seconds = divmod(round(results["train_s"]), 60)
    cells = (
        results["recipe"],
        f"{results['test']['error']:.2f} %",
        alone,
        f"{paper.test_error:.2f} %" if paper else "–",
        epochs,
        f"{minutes} min {seconds:02d} s",
        f"{results['device']}, {results['threads']} thread{'s' if results['threads'] > 1 else ''}",
        str(results["seed"]),
        (results["git_commit"] or "–")[:8],
    )
    return line(cells)


def page() -> str:
    """The whole page."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("*.json"))]
    papers = {name: load(name).paper for name in sorted({run["recipe"] for run in runs})}
    sources = [f"- {name}: {paper.source}" for name, paper in papers.items() if paper]
    commands = [f"{r['command']}\n" for r in runs]
    return (
        HEAD
        + line(COLUMNS)
        + line(COLUMNS.values())
        + "".join(map(row, runs))
        + "\nWhere the papers' figures are from:\n\n"
        + "\n".join(sources)
        + "\n\nCommands, in the order of the rows:\n\n```sh\n"
        + "".join(commands)
        + "```\n"
    )


if __name__ == "__main__":
    (HERE / "README.md").write_text(page(), encoding="utf-8")
