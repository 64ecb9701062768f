"""Pictures of validation error against learning time, one for each data set, from the stored curves."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from choice import FAMILIES, Choice, family_of, in_order
from kept import HERE, Runs, twins

from ffcore.report.style import FRAME, MUTED, paper_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10", "digits": "scikit-learn's digits"}
"""Data sets with a picture, and their names in the captions."""

_SHADES = {
    FAMILIES[0]: ("#08306b", "#2171b5", "#4a98c9", "#0b7285"),
    FAMILIES[1]: ("#7f2704", "#c2410c", "#e8873a", "#a8701a"),
}
"""Colours of the lines of a family, in turn."""

_ERRORS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_TIMES = {0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36000: "10 h"}


_ROOM = 20
"""Most labels of a panel: with more, only recipes have one, not their twins."""


@dataclass(frozen=True)
class Line:
    """A line of a picture.

    Attributes:
        family: family of the recipe, which the twin of a recipe shares.
        label: name of the recipe.
        twin: whether it is a twin by backpropagation.
        points: seconds of learning of the fastest seed, and the lowest validation error until then, percent.
    """

    family: str
    label: str
    twin: bool
    points: list[tuple[float, float]]

    @property
    def last(self) -> float:
        """The lowest validation error."""
        return self.points[-1][1]


def points(group: Runs) -> list[tuple[float, float]]:
    """Returns the points of runs, errors as means over seeds; of runs without a curve, the last point."""
    lowest, found = math.inf, []
    curve = [(when, group.errors_after(epoch)) for epoch, when, _ in group.fastest.get("curve", ())]
    for when, errors in curve or [(group.fastest["train_s"], group.errors("val"))]:
        lowest = min(lowest, sum(errors) / len(errors))
        # no error has no place on a logarithmic axis: half a sample
        found.append((round(when, 3), round(max(lowest, 50 / group["data"]["validation"]), 4)))
    return found


def names(groups: Sequence[Runs]) -> list[str]:
    """Returns the labels of runs: the recipe, with what tells it from other runs of it."""
    labels = []
    for group in groups:
        words = [word.removeprefix("data.") for word in group.overrides if word.startswith("data.")]
        short = [re.sub(r"\{kind: ([\w-]+)[^}]*\}", r"\1", word) for word in words]
        labels.append(" ".join([group.name.partition("/")[2], *short]))
    return [
        f"{label}, {group['epochs']} epochs" if labels.count(label) > 1 else label
        for label, group in zip(labels, groups, strict=True)
    ]


def lines(choice: Choice, data: str) -> list[Line]:
    """Returns the lines of the picture of a data set: recipes, and the twins of each family."""
    groups = [g for g in choice.shown if g.data == data and g.headline is None]
    found = []
    for family in FAMILIES[:2]:
        own = in_order(group for group in groups if family_of(group.name) == family)
        partners = {twins().get(group.name) for group in own}
        for twin in (True, False):
            here = in_order(group for group in groups if group.name in partners) if twin else own
            found += [
                Line(family, label, twin, points(g)) for label, g in zip(names(here), here, strict=True)
            ]
    return found


def digest(drawn: list[Line]) -> str:
    """Returns the description in the picture's file, which tells whether its curves are those of today."""
    told = json.dumps([[line.family, line.label, line.twin, line.points] for line in drawn])
    return "curves " + hashlib.sha256(told.encode()).hexdigest()[:16]


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Returns heights of labels near the given ones, in the same order, at least a gap apart, in 0 to 1."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    gap = min(gap, 1 / max(len(heights) - 1, 1))
    placed = [0.0] * len(heights)
    blocks: list[list[float]] = []  # of labels that touch: sum of the wished lowest places, and their number
    for rank, i in enumerate(order):
        blocks.append([heights[i] - gap * rank, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    lowest = [total / count for total, count in blocks for _ in range(int(count))]
    most = 1 - gap * (len(heights) - 1)
    for rank, i in enumerate(order):
        placed[i] = min(max(lowest[rank], 0), most) + gap * rank
    return placed


def draw(drawn: list[Line], title: str, path: Path) -> None:
    """Draw a picture with a panel for each family."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels = [[line for line in drawn if line.family == family] for family in FAMILIES[:2]]
    height = max(2.5, 0.16 * max(len(named(panel)) for panel in panels) + 0.8)
    times = [when for line in drawn for when, _ in line.points]
    most = 3 * max(line.last for line in drawn)  # above it is only the beginning of some lines
    errors = [min(error, most) for line in drawn for _, error in line.points]
    limits = (min(times) / 1.3, max(times) * 1.3), (min(errors) / 1.2, min(max(errors) * 1.1, 100))
    with paper_style(), rc_context({"svg.fonttype": "none"}):
        figure = Figure(figsize=(8.8, height))
        for i, (family, panel) in enumerate(zip(FAMILIES, panels, strict=False)):
            box = (0.055 + 0.485 * i, 0.42 / height, 0.275, 1 - 0.72 / height)
            axes = figure.add_axes(box)
            axes.set_title(f"{title}: {family.lower()}")
            draw_axes(axes, limits)
            draw_lines(axes, panel, limits[1], gap=0.135 / (height * box[3]))
            if i == 0:
                axes.set_ylabel("lowest validation error %")
        metadata: dict[str, Any] = {"Date": None, "Creator": None, "Description": digest(drawn)}
        figure.savefig(path, format="svg", metadata=metadata)
    text = path.read_text(encoding="utf-8")
    path.write_text("".join(f"{row.rstrip()}\n" for row in text.splitlines()), encoding="utf-8")


def named(panel: list[Line]) -> list[Line]:
    """Returns the lines that have a label."""
    return panel if len(panel) <= _ROOM else [line for line in panel if not line.twin]


def draw_axes(axes: Axes, limits: tuple[tuple[float, float], tuple[float, float]]) -> None:
    """Draw logarithmic axes of time and error."""
    axes.set(xscale="log", yscale="log", xlim=limits[0], ylim=limits[1], xlabel="time of learning")
    errors = {error: f"{error:g}" for error in _ERRORS}
    for axis, (start, end), ticks in zip((axes.xaxis, axes.yaxis), limits, (_TIMES, errors), strict=True):
        inside = {tick: text for tick, text in ticks.items() if start <= tick <= end}
        axis.set_ticks(list(inside), list(inside.values()))
        axis.set_ticks([], minor=True)


def draw_lines(axes: Axes, panel: list[Line], span: tuple[float, float], gap: float) -> None:
    """Draw the lines of a family, and their names beside the axes, at least a gap apart."""
    with_name = sorted(named(panel), key=lambda line: line.last)
    low, high = span
    heights = [math.log(line.last / low) / math.log(high / low) for line in with_name]
    own = [line for line in with_name if not line.twin]
    for line in panel:
        xs, ys = zip(*line.points, strict=True)
        if line.twin:
            colour = MUTED
            axes.plot(xs, ys, color=colour, linewidth=0.8, linestyle=(0, (3, 1.5)), zorder=1.5)
        else:
            shades = _SHADES[line.family]
            colour = shades[own.index(line) % len(shades)]
            axes.plot(xs, ys, color=colour, linewidth=1.2, zorder=2)
        axes.plot(xs[-1:], ys[-1:], color=colour, marker="s" if line.twin else "o", markersize=3)
        if line in with_name:
            axes.annotate(
                line.label,
                (xs[-1], ys[-1]),
                xytext=(1.05, spread(heights, gap)[with_name.index(line)]),
                textcoords="axes fraction",
                color=colour,
                fontsize=7,
                verticalalignment="center",
                arrowprops={"arrowstyle": "-", "color": FRAME, "linewidth": 0.5, "relpos": (0, 0.5)},
            )


def path_of(data: str) -> Path:
    """Returns the file of the picture of a data set."""
    return HERE / f"error-time-{data}.svg"


def write(choice: Choice) -> None:
    """Draw the pictures whose curves have changed."""
    for data, title in DATA.items():
        drawn, path = lines(choice, data), path_of(data)
        if not path.is_file() or digest(drawn) not in path.read_text(encoding="utf-8"):
            draw(drawn, title, path)


def section() -> str:
    """Returns the section of the page that shows the pictures."""
    shown = "\n".join(
        f"![{title}: validation error over the time of learning, goodness and local classifiers]"
        f"({path_of(data).name})\n"
        for data, title in DATA.items()
    )
    return f"""## Error against time

The lowest validation error so far, mean over seeds, over the time of learning of the fastest seed. Dashed
grey: twins by backpropagation, with their names where there is room. A dot alone: only the end was
measured. Runs shared their machine with other work, and a few used two threads.

{shown}"""
