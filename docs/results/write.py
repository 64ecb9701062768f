"""Write README.md beside this file from the results stored here: python docs/results/write.py.

Numbers in tables are never typed by hand. Metrics of runs come from the *.json that keep.py writes here, test
errors of papers from the recipes, deviations from the numbered lists of the plugins' pages, costs from the
output of tests/bench/costs.py. surprises.md is the text of "What surprised us", with names of metrics in
braces; numbers from trials that were not kept are typed there and marked as such.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kept import COSTS, HERE, Runs, costs, duration, percent, runs, twins

from ffcore.engine.metrics import EVERYWHERE
from ffcore.plugin.manager import current
from ffcore.recipe.load import load, names

ROOT = HERE.parents[1]

INTRODUCTION = """# Results

`python docs/results/write.py` makes this page from the `results.json` of runs, stored here by
`python docs/results/keep.py RUN`.

- **test error**: percent of the test split, which was never used to choose anything; ± is the standard
  deviation over seeds. Bold if the recipe ran with all its epochs. Sampling error: at 1.5 % of MNIST's 10,000
  test images one standard error is 0.12 points, at 2 % of the 360 of digits 0.74. One seed is one run.
- **validation**: error on the validation split, on which settings were chosen.
- **paper**: the test error that it reports, and how we know it: read in its authors' *text* or *code*,
  from *secondary* sources, or *recalled*. Sources are numbered below the table.
- **epochs**: epochs run, "of" those of the recipe or the paper if these are more. A shorter run is not the
  first part of the longer one: its learning-rate schedule is complete, scaled to its length.
- **time**: of learning, and in total with validation, test and report, for the fastest seed. The machine did
  other work as well; for comparisons use *What it costs*.
- **samples/s**: training images, not counting the views that the algorithm makes of each.
- **reached**: time of learning until a validation first reached that accuracy, for the fastest seed; recipes
  validate after every epoch or after several. A dash: no curve was kept, or the data set has no target.
- **peak memory**: maximum of the process, with Python, torch (some 450 MiB) and the data; on a GPU, of GPU
  memory.
- **commit**: of ffcore; `-dirty`: with uncommitted changes, for runs from before these were refused.
- **deviations**: from the paper, numbered on the plugin's page.

A row "by backprop" below another is its twin: a network with layers of the same kinds and widths on the same
data and batches, but with an optimiser, a number of epochs and a normalisation that suit backpropagation.

Two families of local losses have tables of their own. In **goodness** a block's score of a class is a
fixed function of its activity, or a share of its channels: the block has no classifier, and its activity
itself must carry the classes (Forward-Forward, channel classes, predictive FF). In **local classifier**
every block has a classifier, trained or fixed at random, which reads the block's activity and is thrown
away or used to predict; the activity only needs to be separable by it (pred and predsim, Mono-Forward,
scalable FF). No gradient crosses a block in either family, but the second has more parameters, counted
apart as heads, and higher accuracy: never compare a record of one with a record of the other.
"""

FAMILIES = ("Goodness", "Local classifier", "Backpropagation")


def family_of(name: str) -> str:
    """Returns the family of a recipe: whether the goodness of its blocks is a head."""
    recipe = load(name)
    if recipe.algorithm.kind == "backprop":
        return FAMILIES[2]
    goodness = recipe.block.goodness
    entries = {entry.name for entry in current().registry.entries("goodness") if entry.plugin == "local"}
    return FAMILIES[goodness is not None and goodness.kind in entries]


def line(cells: Iterable[str]) -> str:
    """Returns a line of a table."""
    return f"| {' | '.join(cells)} |\n"


def head(columns: str) -> str:
    """Returns the first lines of a table; a name that ends in : is a column of numbers."""
    titles = [title.strip() for title in columns.split("|")]
    return line(title.removesuffix(":") for title in titles) + line(
        "---:" if title.endswith(":") else "---" for title in titles
    )


def deviations() -> dict[str, str]:
    """The deviations of each recipe from the plugins' pages, with a link to the numbered list."""
    by_recipe = {}
    for page in sorted((ROOT / "docs" / "plugins").glob("*.md")):
        for row in page.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            if len(cells) == 3 and cells[0].startswith("`") and "/" in cells[0]:
                for name in re.findall(r"`([\w./-]+)`", cells[0]):
                    by_recipe[name] = f"[{page.stem}](../plugins/{page.name}): {cells[2]}"
    return by_recipe


class Page:
    """The page; sources of papers' test errors are numbered in order of first use."""

    def __init__(self) -> None:
        self.all = runs()
        self.groups = [group for group in self.all if group.headline is None]
        self.others = [group for group in self.all if group.headline is not None]
        self.sources: list[str] = []
        self.deviations = deviations()
        self.commands: list[str] = []

    def best(self, name: str, epochs: int | None = None) -> Runs | None:
        """Returns the runs of the unchanged recipe with the given number of epochs, or with the most."""
        candidates = [
            group
            for group in self.all
            if group.variant == name and not group.changed and epochs in (None, group["epochs"])
        ]
        return max(candidates, key=lambda group: int(group["epochs"]), default=None)

    def row(self, group: Runs, twin: bool) -> str:
        """Returns one line of a table."""
        name = group.label + (f", with another {', '.join(group.changed)}" if group.changed else "")
        error = f"{percent(group.errors())} %"
        fastest, reached = group.fastest, group.reached()
        if reached is not None:
            when = f"{duration(reached[0])} to {group.target:.0f} %"
        elif group.target is not None and all("curve" in run for run in group.runs):
            when = "not reached"
        else:
            when = "–"
        then = f"  # at {', '.join(group.commits)}" if group.changed else ""
        self.commands += [f"ffcore {run['command'].removeprefix('ffcore ')}{then}" for run in group.runs]
        return line(
            [
                f"↳ by backprop: {name}" if twin else name,
                f"**{error}**" if group.complete else error,
                f"{percent(group.errors('val'))} %",
                self.figure(group.paper) if group.paper else "–",
                self.epochs(group),
                group.seeds,
                f"{duration(fastest['train_s'])}, {duration(fastest['wall_s'])}",
                f"{fastest['samples_per_s']:,.0f}",
                when,
                f"{max(run['peak_memory'] for run in group.runs) / 2**20:,.0f} MiB",
                f"{group['device']}, {group['threads']} thread{'s' * (group['threads'] > 1)}",
                ", ".join(re.sub(r"(\w{7})\w*", r"\1", commit) for commit in group.commits),
                "–" if group.changed else self.deviations.get(group.name, "–"),
            ]
        )

    def epochs(self, group: Runs) -> str:
        """Returns the epochs run, the planned epochs, and the epoch whose weights were tested."""
        of = f" of {group.most}" if group["epochs"] < group.most else ""
        best = ", best by validation" if group["selected"] == "best" else ""
        return f"{group['epochs']}{of}{best}"

    def figure(self, paper: dict[str, Any]) -> str:
        """Returns the test error of a paper, how it is known, and the number of its source."""
        if paper["source"] not in self.sources:
            self.sources.append(paper["source"])
        known = f" {paper['known']}" if paper.get("known") else ""
        return f"{paper['test_error']:g} %{known} [{self.sources.index(paper['source']) + 1}]"

    def table(self, groups: list[Runs]) -> str:
        """Returns a table of groups: each recipe is followed by its twin."""
        text = head(
            "recipe | test error: | validation: | paper: | epochs: | seeds | time, in all: | samples/s: | "
            "reached: | peak memory: | device | commit | deviations"
        )
        for name in dict.fromkeys(group.name for group in groups):
            for group in groups:
                text += self.row(group, twin=False) if group.name == name else ""
            for group in self.groups:
                text += self.row(group, twin=True) if group.name == twins().get(name) else ""
        return text

    def families(self, groups: list[Runs]) -> str:
        """Returns a table for each family of local losses that has runs."""
        text = ""
        for family in FAMILIES:
            own = [group for group in groups if family_of(group.name) == family]
            text += f"### {family}\n\n{self.table(own)}\n" if own else ""
        return text

    def tasks(self) -> str:
        """Returns the table of runs whose targets are not one class a sample."""
        text = head(
            "recipe | measure | test: | validation: | epochs: | seeds | learning: | parameters: | commit"
        )
        for group in self.others:
            twin = group.name in twins().values()
            values = [f"{percent(group.headlines(split), 3)}" for split in ("test", "val")]
            text += line(
                [
                    f"↳ by backprop: {group.label}" if twin else group.label,
                    str(group.headline),
                    f"**{values[0]}**" if group.complete else values[0],
                    values[1],
                    self.epochs(group),
                    group.seeds,
                    duration(group.fastest["train_s"]),
                    f"{group['parameters']:,}",
                    ", ".join(re.sub(r"(\w{7})\w*", r"\1", commit) for commit in group.commits),
                ]
            )
            self.commands += [f"ffcore {run['command'].removeprefix('ffcore ')}" for run in group.runs]
        return text

    def costs(self) -> str:
        """Returns the section on the cost of learning compared with backprop."""
        text = head(
            "recipe | backprop on | batch size: | ms per batch: | by backprop: | ratio: | "
            "of multiplications: | time to the same accuracy: | time of all epochs: | "
            "kept for backward: | by backprop:"
        )
        for pair in costs():
            (ms, other), (kept, other_kept) = pair["ms"], pair["kept_mb"]
            (low, high), (work, least) = pair["quartiles"], pair["gflop"]
            (own, _), (twin, overrides) = pair["loaded"]
            text += line(
                [
                    f"`{own}`" + " as it was" * pair["changed"],
                    f"`{' '.join([twin, *overrides])}`",
                    str(pair["batch"]),
                    *(f"{ms:.1f}", f"{other:.1f}", f"**{ms / other:.2f} ×** ({low:.2f} to {high:.2f})"),
                    f"{work / least:.2f} ×",
                    *(self.ratio(pair, what) for what in ("reached", "all")),
                    *(f"{kept:.1f} MB", f"{other_kept:.1f} MB"),
                ]
            )
        measured = json.loads(COSTS.read_text(encoding="utf-8"))
        return f"""## What it costs

The algorithm's step on a batch, and the peak memory that autograd keeps for backward, compared with backprop
on layers of the same widths with the same batch size. Medians of alternating rounds in one process, and the
quartiles of their ratio, on {measured["machine"]}, at {measured["commit"][:7]} (`python tests/bench/costs.py
--write docs/results/costs.json`).

- **of multiplications**: the ratio of the multiplications in the matrix products and convolutions of the two
  steps, as torch counts them. PFF and the recurrent network have connections that their plain networks lack.
- **time to the same accuracy**: the ratio of step times, multiplied by the ratio of epochs until the accuracy
  of the column "reached" above; a range if one of them validates only after several epochs.
- **time of all epochs**: the ratio of step times, multiplied by the ratio of the two recipes' epochs, whether
  they ran or not. An audit (Spyra and Dzwinel, PPAM 2026) found 4.1 to 7.4 times backprop's training time for
  Forward-Forward, in complete runs: compare it with this column.

On 4×4 feature maps torch's weight gradient is slow on a CPU. ffcore's own step avoids it and backprop does
not, which favours `cifar10/channel-small`. This machine does not report energy.

{text}
"""

    def ratio(self, pair: dict[str, Any], what: str) -> str:
        """Returns the ratio of a recipe's time to its twin's: ratio of step times × ratio of epochs."""
        (own, _), (twin, _) = pair["loaded"]
        if twins().get(own) != twin:
            return "–"
        if what == "all":
            epochs = [(load(name).trainer.max_epochs,) * 2 for name in (own, twin)]
        else:
            reached = [group and group.reached() for group in (self.best(own), self.best(twin))]
            epochs = [found[1] for found in reached if found]
        if len(epochs) < 2:
            return "–"
        (least, most), (their_least, their_most) = epochs
        step = pair["ms"][0] / pair["ms"][1]
        low, high = (f"{step * share:.1f}" for share in (least / their_most, most / their_least))
        return f"{low} ×" if low == high else f"{low} to {high} ×"

    def alone(self) -> str:
        """Returns the section with the test error of every single source of evidence."""
        text = head("recipe | parameters: | epochs: | seeds | test error of each source alone")
        for group in self.groups:
            errors = (f"{name} {percent(group.alone(name))}" for name in group["test"]["per_block_accuracy"])
            cells = (f"{group['parameters']:,}", self.epochs(group), group.seeds, "; ".join(errors))
            text += line((group.label, *cells))
        return text

    def besides(self) -> str:
        """Returns the section with the algorithms' own metrics on the test split and at the end of a run."""
        text = head("recipe | seeds | metrics")
        for group in self.groups:
            found = [
                {
                    **{k: v for k, v in run["test"].items() if k not in EVERYWHERE},
                    **(run.get("concluded") or {}),
                }
                for run in group.runs
            ]
            cells = (
                f"{name.replace('_', ' ')} {percent([run[name] for run in found], 3)}" for name in found[0]
            )
            text += line((group.label, group.seeds, "; ".join(cells))) if found[0] else ""
        return text

    def missing(self) -> str:
        """Returns the list of recipes that have not been run, or not for all of their epochs."""
        text = ""
        for name in names():
            recipe, found = load(name), self.best(name)
            if found is not None:
                if found["epochs"] < found.most:
                    text += f"- `{name}`: {found['epochs']} of {found.most} epochs\n"
            else:
                paper = f" (paper: {self.figure(recipe.paper.model_dump())})" if recipe.paper else ""
                text += f"- `{name}`{paper}: not run\n"
        return text

    def surprises(self) -> str:
        """Returns the text of surprises.md with the metrics filled in.

        Raises:
            ValueError: a metric does not exist.
        """

        def fill(match: re.Match[str]) -> str:
            name, epochs, what = match.groups()
            pair = next((pair for pair in costs() if pair["loaded"][0][0] == name), None)
            if pair is not None and what in ("step", "work"):
                own, other = pair["ms" if what == "step" else "gflop"]
                return f"{own / other:.1f}"
            if pair is not None and what in ("all", "reached") and (ratio := self.ratio(pair, what)) != "–":
                return ratio.removesuffix(" ×")
            found = self.best(name, int(epochs) if epochs else None)
            if found is None:
                raise ValueError(f"surprises.md: {match[0]}: no run of {name} is kept")
            if what in ("test", "val"):
                return f"{percent(found.errors(what))} %"
            if what.isdigit() and (errors := found.errors_after(int(what))):
                return f"{percent(errors)} %"
            if what in found["test"]["per_block_accuracy"]:
                return f"{percent(found.alone(what))} %"
            if what == "time":
                return duration(found.fastest["train_s"])
            raise ValueError(f"surprises.md: {match[0]}: there is no such metric")

        words = (HERE / "surprises.md").read_text(encoding="utf-8")
        return re.sub(r"\{([\w/.-]+)(?: in (\d+))? ([\w-]+)\}", fill, words)

    def text(self) -> str:
        """Returns the whole page."""
        known = {group.name for group in self.groups}
        followed = {twin for name, twin in twins().items() if name in known}
        rows = [group for group in self.groups if group.name not in followed]
        first = self.families([group for group in rows if group.paper])
        second = self.families([group for group in rows if not group.paper])
        tasks, costs = self.tasks(), self.costs()
        missing, surprises = self.missing(), self.surprises()
        sources = "".join(f"{i}. {source}\n" for i, source in enumerate(self.sources, 1))
        commands = "\n".join(self.commands)
        return f"""{INTRODUCTION}
## Beside the papers

{first}
Sources of the papers' test errors:

{sources}
Not run, or not to the end (we had no GPU for the larger ones):

{missing}
## Other recipes

{second}
## Other targets

Tokens, pixels, labels and real numbers: the measure that selects weights. A lower perplexity and a higher R²
are better. Bold if the recipe ran with all its epochs.

{tasks}
{costs}## What surprised us

{surprises}
## Each source of evidence alone

Test error in percent.

{self.alone()}
## Further metrics

Of the test split, and from the end of a run (`concluded`); the plugins' pages explain the names.

{self.besides()}
## Commands

In the order of the rows.

```sh
{commands}
```
"""


if __name__ == "__main__":
    (Path(__file__).parent / "README.md").write_text(Page().text(), encoding="utf-8")
