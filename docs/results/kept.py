"""Reads the results stored here, for write.py: runs, their twins, and whether a recipe has changed since."""

from __future__ import annotations

import json
import re
import shlex
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ffcore.build.attributes import imposed_block
from ffcore.build.components import make
from ffcore.recipe.load import load, names
from ffcore.recipe.schema import Recipe
from ffcore.report.differences import DESCRIPTIVE, leaves

HERE = Path(__file__).parent
COSTS = HERE / "costs.json"
SHELF = HERE / "shelf.json"
BLACKBOX = HERE / "blackbox.json"  # accuracies of tests/bench/blackbox.py
EDGE = HERE / "edge.json"  # figures of tests/bench/edge.py
AUDIT = HERE / "audit.json"  # figures of tests/bench/audit.py
TARGETS = {"mnist": 97.0, "cifar10": 70.0, "digits": 95.0}
"""Target validation accuracy in percent, by data set; the page reports the time to reach it."""

_ELSEWHERE = re.compile(r"data\.(root|download)|trainer\.(bar|threads|loggers\b.*|callbacks\b.*)|seed")
"""Settings that have a column of their own, or that no metric depends on."""

_PACE = ("trainer.max_epochs", "trainer.max_steps", "trainer.validate_every", "trainer.checkpoint_every")
"""Overrides whose effect has a column of its own, or none."""

_NO_COST = re.compile(r"trainer\.(?!precision|clip|accumulate).*|.*\.(lr|start)")
"""Settings that do not change what a step costs."""


def settings(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Returns the settings of a complete recipe that a metric depends on, by dotted path."""
    own = {key: value for key, value in recipe.items() if key not in DESCRIPTIVE}
    all_settings = [*leaves(own), *_names(own)]
    return {path: value for path, value in all_settings if not _ELSEWHERE.fullmatch(path)}


def _names(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys of lists and mappings: without them an added entry would have no path to compare."""
    inside = dict(enumerate(value)) if isinstance(value, list) else value
    if isinstance(inside, dict):
        if isinstance(value, list) or path.rpartition(".")[2] in ("penalties", "readouts"):
            yield f"{path}.*", ", ".join(map(str, inside))
        for key, item in inside.items():
            yield from _names(item, f"{path}.{key}" if path else str(key))


def _is_default(recipe: Recipe, path: str) -> bool:
    """Whether an option, which a kept run does not have, has the value that it would have if left out."""
    *above, name = path.split(".")
    part: Any = recipe
    for key in above:
        part = (
            part[int(key)]
            if key.isdecimal()
            else part[key]
            if isinstance(part, dict)
            else getattr(part, key, None)
        )
    options = getattr(part, "options", part)
    field = getattr(type(options), "model_fields", {}).get(name)
    return field is not None and getattr(options, name) == field.get_default(call_default_factory=True)


def _changed(then: Mapping[str, str], recipe: Recipe) -> list[str]:
    """Returns the paths of the settings that differ from the current recipe."""
    today = settings(recipe.model_dump(mode="json"))
    new = [path for path in today if path not in then and not _is_default(recipe, path)]
    different = [path for path, value in then.items() if today.get(path) != value] + new
    idle = () if recipe.readouts else ("readout_optimizer.",)
    # what an algorithm imposes replaces what its recipe says, such as the local losses of backprop's base
    imposed = imposed_block(make(recipe.algorithm, "algorithm"))
    idle += tuple(f"block.{key}." for key in imposed.model_fields_set)
    return [path for path in different if not path.startswith(idle)]


@dataclass(frozen=True)
class Runs:
    """Runs that differ only in the seed.

    Attributes:
        runs: the stored content of each run, sorted by seed.
    """

    runs: list[dict[str, Any]]

    def __getitem__(self, key: str) -> Any:
        """Returns a value of the first run."""
        return self.runs[0][key]

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return str(self["recipe"])

    @property
    def fastest(self) -> dict[str, Any]:
        """The run with the shortest time: other work on the machine has slowed it down least."""
        return min(self.runs, key=lambda run: float(run["train_s"]))

    @cached_property
    def overrides(self) -> list[str]:
        """Overrides on the command line that a metric depends on."""
        words = shlex.split(self["command"])[3:]
        return [word for word in words if "=" in word and not _ELSEWHERE.fullmatch(word.partition("=")[0])]

    @cached_property
    def variant(self) -> str:
        """Name of the recipe, with the overrides that change it."""
        return " ".join([self.name, *(word for word in self.overrides if not word.startswith(_PACE))])

    @property
    def seeds(self) -> str:
        """The seeds, as in tables."""
        return ", ".join(str(run["seed"]) for run in self.runs)

    @property
    def label(self) -> str:
        """Name of the runs in tables."""
        return f"`{self.variant}`" + " as it was" * bool(self.changed)

    @cached_property
    def recipe(self) -> Recipe:
        """The current recipe, with the overrides of these runs."""
        return load(self.name, self.overrides)

    @property
    def paper(self) -> dict[str, Any] | None:
        """The test error of the paper, from the current recipe, if it applies to these runs and data."""
        other = any(word.startswith("data.") for word in self.overrides)
        return self.recipe.paper.model_dump() if self["paper"] and self.recipe.paper and not other else None

    @cached_property
    def changed(self) -> list[str]:
        """Parts of the recipe that have changed since these runs."""
        return sorted({path.partition(".")[0] for path in _changed(self["settings"], self.recipe)})

    @property
    def commits(self) -> list[str]:
        """Commits of the code of these runs."""
        return sorted({commit for run in self.runs for commit in run["git_commit"].split(", ")})

    @property
    def dirty(self) -> bool:
        """Whether one of them ran uncommitted code; keep.py refuses such runs today."""
        return any("dirty" in commit for commit in self.commits)

    @property
    def data(self) -> str:
        """Name of the data set; of a function that makes or loads it, what it makes or loads."""
        return str(self["data"]["name"]).rpartition(":")[2].removeprefix("load_").replace("_", "-")

    @property
    def planned(self) -> int:
        """Epochs of the recipe, without overrides."""
        return load(self.name).trainer.max_epochs

    @property
    def most(self) -> int:
        """Epochs of the recipe or of the paper: the larger number."""
        return max(self.planned, (self.paper or {}).get("epochs") or 0)

    @property
    def complete(self) -> bool:
        """Whether these are runs of the current recipe with all its epochs and without overrides."""
        return self["epochs"] >= self.planned and not self.changed and self.variant == self.name

    def errors(self, split: str = "test") -> list[float]:
        """Returns the errors in percent."""
        return [float(run[split]["error"]) for run in self.runs]

    @property
    def headline(self) -> str | None:
        """The measure of another task than the classification of samples; None for that."""
        task = self.runs[0].get("task")
        return None if task is None else str(task["headline"])

    def headlines(self, split: str = "test") -> list[float]:
        """Returns the headlines of another task."""
        return [float(run[split][self.headline]) for run in self.runs]

    def alone(self, source: str) -> list[float]:
        """Returns the test errors of one source of evidence in percent."""
        return [100 * (1 - run["test"]["per_block_accuracy"][source]) for run in self.runs]

    def errors_after(self, epochs: int) -> list[float]:
        """Validation errors in percent after a number of epochs; empty if there was no validation then."""
        curves = [run.get("curve", ()) for run in self.runs]
        return [100 * (1 - share) for curve in curves for epoch, _, share in curve if epoch == epochs]

    @property
    def target(self) -> float | None:
        """Target validation accuracy in percent; the page reports the time to reach it."""
        return TARGETS.get(self.name.partition("/")[0])

    def reached(self) -> tuple[float, tuple[float, float]] | None:
        """When a validation first reached the target; None if a run never reached it.

        Returns:
            Seconds of learning, of the fastest run; and the least and most epochs that it may have taken,
            means over runs: it may have been any epoch after the validation before.
        """
        seconds, least, most = [], [], []
        for run in self.runs:
            before = 0
            for epoch, when, share in run.get("curve", ()):
                if self.target is not None and 100 * share >= self.target:
                    seconds.append(when)
                    least.append(before + 1)
                    most.append(epoch)
                    break
                before = epoch
        if len(seconds) < len(self.runs):
            return None
        return min(seconds), (statistics.mean(least), statistics.mean(most))


def runs() -> list[Runs]:
    """Returns all stored runs."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for path in sorted(HERE.glob("*.json")):
        if path not in (COSTS, SHELF, BLACKBOX, EDGE, AUDIT):
            run = json.loads(path.read_text(encoding="utf-8"))
            bare = re.sub(r" (seed=\d+|trainer\.bar=false)", "", run["command"])
            key = (run["recipe"], bare, run["device"], run["threads"], str(run["settings"]))
            groups.setdefault(key, []).append(run)
    all_runs = [Runs(sorted(group, key=lambda run: int(run["seed"]))) for group in groups.values()]
    return sorted(all_runs, key=lambda group: (group.name, not group.complete, group["command"]))


@cache
def twins() -> dict[str, str]:
    """Returns the twin of each recipe, by the name of the recipe."""
    by_name = {}
    for name in names():
        if load(name).algorithm.kind == "backprop":
            whole, _, last = name.rpartition("/")
            plain = f"{whole}/{last.removesuffix('-backprop')}"
            by_name[plain if plain != name else f"{whole}/ff"] = name
    # a recipe that learns the same network in fewer epochs has the same twin
    same = {name: by_name.get(name.replace("-fast", "")) for name in names() if "-fast" in name}
    return {**{name: twin for name, twin in same.items() if twin is not None}, **by_name}


@cache
def costs() -> list[dict[str, Any]]:
    """Returns the measurements of tests/bench/costs.py per pair; ``changed``: a recipe has changed since."""
    pairs: list[dict[str, Any]] = json.loads(COSTS.read_text(encoding="utf-8"))["pairs"]
    for pair in pairs:
        paths = [
            path
            for measured, (name, overrides) in zip(pair["recipes"], pair["loaded"], strict=True)
            for path in _changed(settings(measured), load(name, overrides))
        ]
        pair["changed"] = not all(_NO_COST.fullmatch(path) for path in paths)
    return pairs


def percent(values: list[float], digits: int = 2) -> str:
    """Formats mean ± standard deviation in percent."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def duration(seconds: float) -> str:
    """Formats seconds as minutes and seconds, or as hours; less than a minute with a decimal."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
