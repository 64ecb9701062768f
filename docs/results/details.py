"""The page details.md: every stored run with its validation, speed, memory, device, commit and command."""

from __future__ import annotations

import re

from choice import Choice, reason
from kept import HERE, Runs, duration, percent
from tables import commits, epochs, head, line, measured

from ffcore.engine.metrics import EVERYWHERE

PAGES = HERE.parent / "plugins"

INTRODUCTION = """# Results in detail

All stored runs of [results](README.md), on any commit. `python docs/results/write.py` makes this page.

- **test**, **validation**: error in percent, ± the standard deviation over seeds; of other tasks their
  measure. Settings were chosen on the validation split. Bold if the recipe ran with all its epochs.
- **time**: of learning, and in total with validation, test and report, for the fastest seed.
- **reached**: time of learning until a validation first reached that accuracy, for the fastest seed;
  recipes validate after every epoch or after several. A dash: no curve was kept, or the data set has no
  target.
- **samples/s**: training images, not counting the views that the algorithm makes of each.
- **peak memory**: maximum of the process, with Python, torch (some 450 MiB) and the data; on a GPU, of GPU
  memory.
- **commit**: of ffcore; `-dirty`: with uncommitted changes, for runs from before these were refused.
- **deviations**: from the paper, numbered on the plugin's page.
"""

_COLUMNS = (
    "recipe | seeds | test: | validation: | epochs: | time, in all: | reached: | samples/s: | "
    "peak memory: | device | commit"
)


def deviations() -> dict[str, str]:
    """The deviations of each recipe from the plugins' pages, with a link to the numbered list."""
    by_recipe = {}
    for page in sorted(PAGES.glob("*.md")):
        for row in page.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            if len(cells) == 3 and cells[0].startswith("`") and "/" in cells[0]:
                for name in re.findall(r"`([\w./-]+)`", cells[0]):
                    by_recipe[name] = f"[{page.stem}](../plugins/{page.name}): {cells[2]}"
    return by_recipe


def cells(group: Runs) -> list[str]:
    """Returns the cells of runs that both tables have."""
    reached = group.reached()
    if reached is not None:
        when = f"{duration(reached[0])} to {group.target:.0f} %"
    elif group.target is not None and group.headline is None and all("curve" in run for run in group.runs):
        when = "not reached"
    else:
        when = "–"
    return [
        f"`{group.variant}`",
        group.seeds,
        measured(group, "test"),
        measured(group, "val"),
        epochs(group),
        f"{duration(group.fastest['train_s'])}, {duration(group.fastest['wall_s'])}",
        when,
        f"{group.fastest['samples_per_s']:,.0f}",
        f"{max(run['peak_memory'] for run in group.runs) / 2**20:,.0f} MiB",
        f"{group['device']}, {group['threads']} thread{'s' * (group['threads'] > 1)}",
        commits(group),
    ]


def alone(groups: list[Runs]) -> str:
    """Returns the table of the test error of every single source of evidence."""
    text = head("recipe | parameters: | epochs: | seeds | test error % of each source alone")
    for group in groups:
        if group.headline is None:
            errors = (f"{name} {percent(group.alone(name))}" for name in group["test"]["per_block_accuracy"])
            text += line(
                (group.label, f"{group['parameters']:,}", epochs(group), group.seeds, "; ".join(errors))
            )
    return text


def besides(groups: list[Runs]) -> str:
    """Returns the table of the algorithms' own metrics on the test split and at the end of a run."""
    text = head("recipe | seeds | metrics")
    for group in groups:
        found = [
            {**{k: v for k, v in run["test"].items() if k not in EVERYWHERE}, **(run.get("concluded") or {})}
            for run in group.runs
        ]
        if group.headline is None and found[0]:
            metrics = (
                f"{name.replace('_', ' ')} {percent([run[name] for run in found], 3)}" for name in found[0]
            )
            text += line((group.label, group.seeds, "; ".join(metrics)))
    return text


def commands(groups: list[Runs]) -> str:
    """Returns the command of every run, with its commit if it is not of today's recipe."""
    lines = []
    for group in groups:
        then = f"  # at {', '.join(group.commits)}" if group.changed or group.dirty else ""
        lines += [f"ffcore {run['command'].removeprefix('ffcore ')}{then}" for run in group.runs]
    return "\n".join(lines)


def page(choice: Choice) -> str:
    """Returns the whole page."""
    listed = deviations()
    ours = {id(run) for group in choice.shown for run in group.runs}
    today = [group for group in choice.all if id(group.runs[0]) in ours]
    others = [group for group in choice.all if id(group.runs[0]) not in ours]
    first, second = head(f"{_COLUMNS} | deviations"), head(f"{_COLUMNS} | why")
    for group in today:
        first += line([*cells(group), listed.get(group.name, "–")])
    for group in others:
        second += line([*cells(group), reason(group)])
    return f"""{INTRODUCTION}
## Today's recipes

{first}
## Earlier recipes and code

Kept for comparison; the [commands](#commands) name their commits.

{second}
## Each source of evidence alone

Test error in percent; "as it was": the recipe has changed since.

{alone(choice.all)}
## Further metrics

Of the test split, and from the end of a run (`concluded`); the plugins' pages explain the names.

{besides(choice.all)}
## Commands

In the order of the rows.

```sh
{commands([*today, *others])}
```
"""
