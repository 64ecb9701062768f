"""Which of the stored runs the tables show: those of today's recipes, of committed code, not superseded."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from kept import Runs, runs

from ffcore.plugin.manager import current
from ffcore.recipe.load import load

FAMILIES = ("Goodness", "Local classifier", "Backpropagation")
_FIRST = ("mnist", "cifar10", "digits")
"""Data sets that tables and pictures begin with; the others follow by name."""


@cache
def family_of(name: str) -> str:
    """Returns the family of a recipe: whether the goodness of its blocks is a head."""
    recipe = load(name)
    if recipe.algorithm.kind == "backprop":
        return FAMILIES[2]
    goodness = recipe.block.goodness
    entries = {entry.name for entry in current().registry.entries("goodness") if entry.plugin == "local"}
    return FAMILIES[goodness is not None and goodness.kind in entries]


def in_order(groups: Iterable[Runs]) -> list[Runs]:
    """Returns groups sorted by data set, then by test error, best first, then by name."""

    def place(group: Runs) -> tuple[int, str, float, str]:
        data = group.data
        rank = _FIRST.index(data) if data in _FIRST else len(_FIRST)
        return rank, data, sum(group.errors()) / len(group.runs), group.variant

    return sorted(groups, key=place)


class Choice:
    """All stored runs, divided by where the pages show them.

    Attributes:
        all: all runs, those of one device and number of threads together.
        shown: unchanged runs of committed code, the most complete of each recipe; on different devices or
            threads, different seeds are one row.
        again: the best there is of each recipe that has no such run.
        earlier: all others.
    """

    def __init__(self, groups: list[Runs] | None = None) -> None:
        self.all = runs() if groups is None else groups
        usable = [group for group in self.all if not group.changed and not group.dirty]
        merged = _merged(usable)
        self.shown = [group for group in merged if not any(_supersedes(other, group) for other in merged)]
        have = {group.variant for group in self.shown}
        lacking: dict[str, list[Runs]] = {}
        for group in self.all:
            if group.variant not in have:
                lacking.setdefault(group.variant, []).append(group)
        self.again = [min(candidates, key=_drawback) for candidates in lacking.values()]
        kept = [run for group in [*self.shown, *self.again] for run in group.runs]
        self.earlier = [group for group in self.all if not any(run is group.runs[0] for run in kept)]

    def best(self, name: str, epochs: int | None = None) -> Runs | None:
        """Returns the shown runs of the recipe with the given number of epochs, or with the most."""
        found = [group for group in self.shown if group.variant == name and epochs in (None, group["epochs"])]
        return max(found, key=lambda group: int(group["epochs"]), default=None)


def _merged(groups: list[Runs]) -> list[Runs]:
    """Returns unchanged groups, where those of the same variant and length with other seeds are one.

    Their settings mean the same today: an option that is newer than a run has its default.
    """
    by_settings: dict[tuple[str, int, str], list[Runs]] = {}
    for group in groups:
        kind = str(group["device"]).partition(" ")[0]
        same = by_settings.setdefault((group.variant, group["epochs"], kind), [])
        seeds = {run["seed"] for run in group.runs}
        for i, other in enumerate(same):
            if not seeds & {run["seed"] for run in other.runs}:
                same[i] = Runs(sorted([*other.runs, *group.runs], key=lambda run: int(run["seed"])))
                break
        else:
            same.append(group)
    return [group for same in by_settings.values() for group in same]


def _supersedes(new: Runs, old: Runs) -> bool:
    """Whether runs of a recipe with more of its epochs have all seeds of the old ones, which lack some."""
    if new.variant != old.variant or old["epochs"] >= min(new["epochs"], old.planned):
        return False
    return {run["seed"] for run in old.runs} <= {run["seed"] for run in new.runs}


def _drawback(group: Runs) -> tuple[bool, int, int]:
    """How far runs are from what a table could show: least is best."""
    return group.dirty, -int(group["epochs"]), len(group.changed)


def reason(group: Runs) -> str:
    """Returns why runs are not in the tables of today's recipes."""
    if group.dirty:
        return "ran uncommitted code"
    if group.changed:
        return f"the recipe has changed since: {', '.join(group.changed)}"
    return "a longer run of the recipe is kept"
