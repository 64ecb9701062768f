"""Write README.md beside this file from what is kept here: python docs/results/write.py.

No figure is typed by hand; the words on what surprised us are in surprises.md.

Figures are those of the *.json that keep.py has put here, papers' figures those of the recipes, deviations
those that the pages of the plugins number, costs those that tests/bench/costs.py has measured.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ffcore.recipe.load import load

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COSTS = HERE / "costs.json"
TARGETS = {"mnist": 97.0, "cifar10": 70.0, "digits": 95.0}
"""Validation accuracy in percent, by the first part of a recipe's name, whose time is told."""

Run = dict[str, Any]


def runs() -> list[list[Run]]:
    """Runs that differ in nothing but the seed, as groups."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for path in sorted(HERE.glob("*.json")):
        if path != COSTS:
            run = json.loads(path.read_text(encoding="utf-8"))
            bare = re.sub(r" seed=\d+", "", run["command"])
            groups.setdefault((run["recipe"], bare), []).append(run)
    return [sorted(group, key=lambda run: int(run["seed"])) for group in groups.values()]


def twins() -> dict[str, str]:
    """The recipe that learns by backprop what another one learns, by that other one's name."""
    found = {}
    for path in (ROOT / "recipes").glob("*/*.yaml"):
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        if said.get("base") and said.get("algorithm", {}).get("kind") == "backprop":
            found[said["base"]] = said["name"]
    return found


def deviations() -> dict[str, str]:
    """What the plugins' pages say of each recipe's deviations, with a link to the numbered list."""
    found = {}
    for page in sorted((ROOT / "docs" / "plugins").glob("*.md")):
        for line in page.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) == 3 and cells[0].startswith("`") and "/" in cells[0]:
                for name in re.findall(r"`([\w./-]+)`", cells[0]):
                    found[name] = f"[{page.stem}](../plugins/{page.name}): {cells[2]}"
    return found


def percent(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def duration(seconds: float) -> str:
    """In minutes and seconds, or hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def reached(group: list[Run]) -> str:
    """Seconds of learning until a validation had the set's target, or a dash."""
    target = TARGETS.get(group[0]["recipe"].partition("/")[0])
    times = []
    for run in group:
        times += [seconds for _, seconds, share in run.get("curve", ()) if 100 * share >= (target or 101)][:1]
    if len(times) < len(group):
        return "–"
    return f"{duration(statistics.mean(times))} to {target:.0f} %"


def line(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |\n"


class Page:
    """The page, with sources of figures numbered as they are first named."""

    def __init__(self) -> None:
        self.groups = runs()
        self.sources: list[str] = []
        self.deviations = deviations()
        self.commands: list[str] = []

    def row(self, group: list[Run], name: str) -> str:
        """One line of a table."""
        first = group[0]
        paper = load(first["recipe"]).paper
        cells = [
            name,
            f"**{percent([run['test']['error'] for run in group])} %**",
            self._figure(paper) if paper else "–",
            f"{first['epochs']}" + (f" of {paper.epochs}" if paper and paper.epochs else ""),
            ", ".join(str(run["seed"]) for run in group),
            duration(statistics.mean(run["train_s"] for run in group)),
            f"{statistics.mean(run['samples_per_s'] for run in group):,.0f}",
            reached(group),
            f"{max(run['peak_memory'] for run in group) / 2**20:,.0f} MiB",
            f"{first['device']}, {first['threads']} thread{'s' * (first['threads'] > 1)}",
            self.deviations.get(first["recipe"], "–"),
        ]
        self.commands += [f"ffcore {run['command'].removeprefix('ffcore ')}" for run in group]
        return line(cells)

    def _figure(self, paper: Any) -> str:
        if paper.source not in self.sources:
            self.sources.append(paper.source)
        return f"{paper.test_error:.2f} % [{self.sources.index(paper.source) + 1}]"

    def table(self, groups: list[list[Run]], twin_of: dict[str, str]) -> str:
        """Groups, each followed by those of its twin."""
        columns = {
            "recipe": "---",
            "test error": "---:",
            "paper": "---:",
            "epochs": "---:",
            "seeds": "---",
            "time learning": "---:",
            "samples/s": "---:",
            "reached": "---:",
            "peak memory": "---:",
            "device": "---",
            "deviations": "---",
        }
        text = line(columns) + line(columns.values())
        for group in groups:
            name = group[0]["recipe"]
            text += self.row(group, f"`{name}`")
            for other in self.groups:
                if other[0]["recipe"] == twin_of.get(name):
                    text += self.row(other, f"↳ by backprop: `{other[0]['recipe']}`")
        return text

    def costs(self) -> str:
        """What learning costs beside backprop."""
        if not COSTS.exists():
            return ""
        said = json.loads(COSTS.read_text(encoding="utf-8"))
        columns = {
            "recipe": "---",
            "backprop on": "---",
            "batch": "---:",
            "ms a batch": "---:",
            "by backprop": "---:",
            "ratio": "---:",
            "kept for backward": "---:",
            "by backprop ": "---:",
        }
        text = line(columns) + line(columns.values())
        for pair in said["pairs"]:
            (ms, other), (kept, theirs) = pair["ms"], pair["kept_mb"]
            text += line(
                [
                    *(f"`{pair['recipe']}`", f"`{pair['backprop']}`", str(pair["batch"])),
                    *(f"{ms:.1f}", f"{other:.1f}", f"**{ms / other:.2f} ×**"),
                    *(f"{kept:.1f} MB", f"{theirs:.1f} MB"),
                ]
            )
        return f"""## What it costs

The algorithm's step on a batch and the most that autograd keeps for backward at one time, beside backprop
with the same layers and batch size; medians of turns in one process, {said["machine"]}
(`python tests/bench/costs.py`). An audit of other implementations found 4 to 7 times backprop's time for
Forward-Forward.

{text}
"""

    def alone(self) -> str:
        """Test error of every source of evidence alone."""
        text = line(("recipe", "seeds", "of each source alone")) + line(("---", "---", "---"))
        for group in self.groups:
            names = group[0]["test"]["per_block_accuracy"]
            errors = (
                f"{name} {percent([100 * (1 - run['test']['per_block_accuracy'][name]) for run in group])}"
                for name in names
            )
            seeds = ", ".join(str(run["seed"]) for run in group)
            text += line((f"`{group[0]['recipe']}`", seeds, "; ".join(errors)))
        return text

    def missing(self) -> str:
        """Recipes with a paper's figure that nobody has run, and those run shorter than the paper."""
        epochs: dict[str, int] = {}
        for group in self.groups:
            name = group[0]["recipe"]
            epochs[name] = max(epochs.get(name, 0), group[0]["epochs"])
        text = ""
        for path in sorted((ROOT / "recipes").glob("*/*.yaml")):
            name = f"{path.parent.name}/{path.stem}"
            paper = load(name).paper
            if paper is None:
                continue
            if name not in epochs:
                text += f"- `{name}` (paper: {self._figure(paper)}): not run to its end on any machine yet\n"
            elif paper.epochs and epochs[name] < paper.epochs:
                text += f"- `{name}`: {epochs[name]} of {paper.epochs} epochs\n"
        return text

    def text(self) -> str:
        """All of it."""
        twin_of = twins()
        followed = set(twin_of.values())
        papers = [g for g in self.groups if load(g[0]["recipe"]).paper and g[0]["recipe"] not in followed]
        others = [g for g in self.groups if g not in papers and g[0]["recipe"] not in followed]
        first, second = self.table(papers, twin_of), self.table(others, twin_of)
        costs, missing = self.costs(), self.missing()
        sources = "".join(f"{i}. {source}\n" for i, source in enumerate(self.sources, 1))
        surprises = (HERE / "surprises.md").read_text(encoding="utf-8")
        commands = "\n".join(self.commands)
        return f"""# What was measured

`python docs/results/write.py` makes this page from the `results.json` of runs, kept here by
`python docs/results/keep.py RUN`. Errors are in percent on the test split, which chooses nothing; ± is the
standard deviation over seeds. "Reached" is the time of learning until a validation first had that accuracy.
Times are of machines that did other work as well, and held a run now and then for a benchmark. A twin is the
same network, data and trainer by
backpropagation.

## Beside the papers

{first}
How well the papers' figures are known:

{sources}
Not run, or not to the end:

{missing}
## Other recipes

{second}
{costs}## What surprised us

{surprises}
## Each source of evidence alone

{self.alone()}
## Commands

In the order of the rows.

```sh
{commands}
```
"""


if __name__ == "__main__":
    (HERE / "README.md").write_text(Page().text(), encoding="utf-8")
