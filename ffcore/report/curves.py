"""Learning curves: validation error and losses over epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffcore.report.colours import colours_of
from ffcore.report.legend import shared_legend
from ffcore.report.measure import Measure
from ffcore.report.record import RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.style import INK, MUTED, WIDE, epoch_axis, fit_scale, mark, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def learning_curves(run: RunRecord) -> Section | None:
    """Returns the section with validation error and losses over epochs; None if the run has neither.

    A task other than the classification of samples has its headline in place of the error.
    """
    draws = [draw for draw, has in ((draw_measure, has_measure(run)), (draw_losses, has_losses(run))) if has]
    if not draws:
        return None
    figure = new_figure(WIDE if len(draws) > 1 else 4.8, 3.1)
    for place, draw in enumerate(draws):
        draw(figure.add_subplot(1, len(draws), place + 1), run)
    shared_legend(figure, figure.axes, list(colours_of(run)), loc="outside upper right")
    what = Measure.of(run.results).name
    caption = f"Validation {what} and loss of each block over epochs; colours get lighter with depth."
    return Section("Learning curves", "", [Picture("curves", figure, caption)])


def has_measure(run: RunRecord) -> bool:
    """Whether the run has validation accuracies, or headlines of another task."""
    return len(run.series(Measure.of(run.results).column)[0]) > 0


def has_losses(run: RunRecord) -> bool:
    """Whether the run has losses."""
    return any(len(run.series(f"{name}/loss")[0]) for name in colours_of(run))


def draw_measure(ax: Axes, run: RunRecord) -> None:
    """Draw the validation error of every source and of all combined, and the test error as a diamond.

    A task other than the classification of samples has its headline in place of the error.
    """
    seen: list[float] = []
    measure, colours = Measure.of(run.results), colours_of(run)
    sources = [name for name in colours if len(run.series(f"val/{name}")[0])]
    # a single source is the combined evidence: do not draw the line twice
    lines = [(name, f"val/{name}", colours[name], 1.1) for name in (sources if len(sources) > 1 else [])]
    lines.append(("combined" if len(sources) > 1 else "validation", measure.column, INK, 1.8))
    for label, column, colour, width in lines:
        epochs, stored = run.series(column)
        values = measure.shown(stored)
        ax.plot(epochs, values, color=colour, label=label, lw=width, **mark(len(epochs)))
        seen += values.tolist()
    test = measure.stored(run.results, "test")
    if test is not None and len(epochs):
        at, value = run.get("epoch_selected"), measure.shown(test)
        ax.plot([epochs[-1] if at is None else at], [value], "D", color=INK, mfc="white", ms=5, label="test")
        seen.append(value)
    paper = run.get("paper", "test_error")
    if paper is not None and measure.headline is None:
        ax.axhline(paper, color=MUTED, lw=1, ls=(0, (4, 3)), label="test, paper")
        seen.append(paper)
    fit_scale(ax, seen)
    epoch_axis(ax)
    ax.set_ylabel(measure.label)
    ax.set_title(f"Validation {measure.name}")


def draw_losses(ax: Axes, run: RunRecord) -> None:
    """Draw the loss of every block that has one."""
    seen: list[float] = []
    for name, colour in colours_of(run).items():
        epochs, loss = run.series(f"{name}/loss")
        if len(epochs):
            ax.plot(epochs, loss, color=colour, label=name, **mark(len(epochs)))
            seen += loss.tolist()
    fit_scale(ax, seen)
    epoch_axis(ax)
    ax.set_ylabel("loss")
    ax.set_title("Loss of each block")
