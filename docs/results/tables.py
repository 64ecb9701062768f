"""The tables of README.md: runs by family, runs of other tasks, and recipes that have no run of today."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from choice import FAMILIES, Choice, family_of, in_order, reason
from kept import Runs, duration, percent, twins

from ffcore.recipe.load import load, names


def line(cells: Iterable[str]) -> str:
    """Returns a line of a table."""
    return f"| {' | '.join(cells)} |\n"


def head(columns: str) -> str:
    """Returns the first lines of a table; a name that ends in : is a column of numbers."""
    titles = [title.strip() for title in columns.split("|")]
    return line(title.removesuffix(":") for title in titles) + line(
        "---:" if title.endswith(":") else "---" for title in titles
    )


def epochs(group: Runs) -> str:
    """Returns the epochs run, those planned or of the paper, and whether the best of them was tested."""
    of = ""
    if group["epochs"] < group.most:
        of = f" (paper {group.most})" if group.complete else f" of {group.most}"
    best = ", best" if group["selected"] == "best" else ""
    return f"{group['epochs']}{of}{best}"


def measured(group: Runs, split: str) -> str:
    """Returns the error of runs in percent, or the measure of another task, in bold if they are complete."""
    value = percent(group.errors(split)) if group.headline is None else percent(group.headlines(split), 3)
    return f"**{value}**" if group.complete and split == "test" else value


def commits(group: Runs) -> str:
    """Returns the commits of runs, short."""
    return ", ".join(commit[:7] + "-dirty" * commit.endswith("-dirty") for commit in group.commits)


class Sources:
    """Sources of the papers' test errors, numbered in order of first use."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def figure(self, paper: dict[str, Any] | None) -> str:
        """Returns the test error of a paper, how it is known, and the number of its source."""
        if paper is None:
            return "–"
        if paper["source"] not in self.all:
            self.all.append(paper["source"])
        known = f" {paper['known']}" if paper.get("known") else ""
        return f"{paper['test_error']:g}{known} [{self.all.index(paper['source']) + 1}]"

    def text(self) -> str:
        """Returns the numbered list."""
        return "".join(f"{i}. {source}\n" for i, source in enumerate(self.all, 1))


def twin_of(group: Runs, choice: Choice) -> str:
    """Returns the test error of the twin of these runs, with the same overrides if such a run is kept."""
    name = twins().get(group.name, "")
    twin = choice.best(name + group.variant.removeprefix(group.name)) or choice.best(name)
    other = any(word.startswith("data.") for word in group.overrides)
    return "–" if twin is None or other else measured(twin, "test")


def families(choice: Choice, sources: Sources) -> str:
    """Returns a section with a table for each family."""
    text = ""
    for family in FAMILIES:
        groups = [g for g in choice.shown if g.headline is None and family_of(g.name) == family]
        twin = family != FAMILIES[2]
        text += f"## {family}\n\n" + head(
            f"data | recipe | test error %: |{' by backprop %: |' * twin} paper %: | epochs: | time: | seeds"
        )
        for group in in_order(groups):
            text += line(
                [
                    group.data,
                    group.label,
                    measured(group, "test"),
                    *[twin_of(group, choice)] * twin,
                    sources.figure(group.paper),
                    epochs(group),
                    duration(group.fastest["train_s"]),
                    group.seeds,
                ]
            )
        text += "\n"
    return text


def tasks(choice: Choice) -> str:
    """Returns the table of runs whose targets are not one class a sample."""
    text = head("recipe | measure | test: | validation: | epochs: | seeds | time: | parameters:")
    for group in choice.shown:
        if group.headline is not None:
            text += line(
                [
                    group.label,
                    str(group.headline),
                    measured(group, "test"),
                    measured(group, "val"),
                    epochs(group),
                    group.seeds,
                    duration(group.fastest["train_s"]),
                    f"{group['parameters']:,}",
                ]
            )
    return text


def again(choice: Choice, sources: Sources) -> str:
    """Returns the table of recipes that have only runs of an older recipe or of uncommitted code."""
    text = head("recipe | test error %: | paper %: | epochs: | seeds | commit | why")
    for group in choice.again:
        text += line(
            [
                f"`{group.variant}`",
                measured(group, "test"),
                sources.figure(group.paper),
                epochs(group),
                group.seeds,
                commits(group),
                reason(group),
            ]
        )
    return text


def not_run(choice: Choice, sources: Sources) -> str:
    """Returns the recipes that have no run: a table of those with a paper's figure, a list of the others."""
    have = {group.name for group in [*choice.shown, *choice.again]}
    missing = [name for name in names() if name not in have]
    papers = {name: load(name).paper for name in missing}
    text = head("recipe | paper %: | epochs:")
    for name, paper in papers.items():
        if paper is not None:
            figure = sources.figure(paper.model_dump())
            text += line([f"`{name}`", figure, str(load(name).trainer.max_epochs)])
    others = ", ".join(f"`{name}`" for name, paper in papers.items() if paper is None)
    return f"{text}\nWithout a figure of a paper: {others}.\n"
