"""Learning curves: validation error and losses over epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ffcore.report.colours import colours_of
from ffcore.report.legend import shared_legend
from ffcore.report.record import RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.style import INK, MUTED, WIDE, epoch_axis, fit_scale, mark, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def learning_curves(run: RunRecord) -> Section | None:
    """Returns the section with validation error and losses over epochs; None if the run has neither."""
    draws = [draw for draw, has in ((curve_of(run), has_error(run)), (draw_losses, has_losses(run))) if has]
    if not draws:
        return None
    figure = new_figure(WIDE if len(draws) > 1 else 4.8, 3.1)
    for place, draw in enumerate(draws):
        draw(figure.add_subplot(1, len(draws), place + 1), run)
    shared_legend(figure, figure.axes, list(colours_of(run)), loc="outside upper right")
    what = run.get("task", "headline") or "error"
    caption = f"Validation {what} and loss of each block over epochs; colours get lighter with depth."
    return Section("Learning curves", "", [Picture("curves", figure, caption)])


def has_error(run: RunRecord) -> bool:
    """Whether the run has validation accuracies, or headlines of another task."""
    return len(run.series(f"val_{run.get('task', 'headline') or 'accuracy'}")[0]) > 0


def curve_of(run: RunRecord) -> Callable[[Axes, RunRecord], None]:
    """Returns the function that draws the validation error, or the headline of another task."""
    return draw_headline if run.get("task") else draw_error


def has_losses(run: RunRecord) -> bool:
    """Whether the run has losses."""
    return any(len(run.series(f"{name}/loss")[0]) for name in colours_of(run))


def draw_error(ax: Axes, run: RunRecord) -> None:
    """Draw the validation error of every source and of all combined, and the test error as a diamond."""
    seen: list[float] = []
    colours = colours_of(run)
    sources = [name for name in colours if len(run.series(f"val/{name}")[0])]
    # a single source is the combined evidence: do not draw the line twice
    for name in sources if len(sources) > 1 else []:
        epochs, accuracy = run.series(f"val/{name}")
        ax.plot(epochs, 100 * (1 - accuracy), color=colours[name], label=name, lw=1.1, **mark(len(epochs)))
        seen += (100 * (1 - accuracy)).tolist()
    epochs, accuracy = run.series("val_accuracy")
    label = "combined" if len(sources) > 1 else "validation"
    ax.plot(epochs, 100 * (1 - accuracy), color=INK, label=label, lw=1.8, **mark(len(epochs)))
    seen += (100 * (1 - accuracy)).tolist()
    test = run.get("test", "accuracy")
    if test is not None and len(epochs):
        at = run.get("epoch_selected")
        error = 100 * (1 - test)
        ax.plot([epochs[-1] if at is None else at], [error], "D", color=INK, mfc="white", ms=5, label="test")
        seen.append(error)
    paper = run.get("paper", "test_error")
    if paper is not None:
        ax.axhline(paper, color=MUTED, lw=1, ls=(0, (4, 3)), label="test, paper")
        seen.append(paper)
    fit_scale(ax, seen)
    epoch_axis(ax)
    ax.set_ylabel("error (%)")
    ax.set_title("Validation error")


def draw_headline(ax: Axes, run: RunRecord) -> None:
    """Draw the headline of a task on validation data, of every source and combined, and of the test."""
    headline = run.get("task", "headline")
    colours = colours_of(run)
    sources = [name for name in colours if len(run.series(f"val/{name}")[0])]
    seen: list[float] = []
    lines = [(name, f"val/{name}", colours[name], 1.1) for name in (sources if len(sources) > 1 else [])]
    lines.append(("combined" if len(sources) > 1 else "validation", f"val_{headline}", INK, 1.8))
    for label, column, colour, width in lines:
        epochs, values = run.series(column)
        ax.plot(epochs, values, color=colour, label=label, lw=width, **mark(len(epochs)))
        seen += values.tolist()
    test, at = run.get("test", headline), run.get("epoch_selected")
    if test is not None and at is not None:
        ax.plot([at], [test], "D", color=INK, mfc="white", ms=5, label="test")
        seen.append(test)
    fit_scale(ax, seen)
    epoch_axis(ax)
    ax.set_ylabel(headline)
    ax.set_title(f"Validation {headline}")


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
