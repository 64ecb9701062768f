"""The error of every source of evidence, and of all sources combined."""

from __future__ import annotations

from collections.abc import Sequence

from ffcore.report.colours import colours_of
from ffcore.report.record import RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.style import INK, MUTED, label, new_figure
from ffcore.report.text import code, error, literal, markdown_table


def evidence(run: RunRecord) -> Section | None:
    """Returns the section with the error of every source and of all combined; None with one source."""
    test, val = per_source(run, "test"), per_source(run, "val")
    names = list(dict.fromkeys((*test, *val)))
    if len(names) < 2:
        return None
    both = run.get("test", "accuracy"), run.get("val", "accuracy")
    columns = ["source of evidence", "test error", "validation error"]
    rows = [[literal(name), error(test.get(name)), error(val.get(name))] for name in names]
    rows.append(["**combined**", error(both[0]), error(both[1])])
    body = markdown_table(columns, rows)
    if how := run.get("contribution"):
        body += f"\n\nCombined by {code(how)}. The table also has the sources that it does not use."
    return Section("Single blocks and combined", body, [_bars(run, test)] if test else [])


def better_alone(runs: Sequence[RunRecord], names: Sequence[str]) -> list[str]:
    """Return a line for each run whose best source alone beats all combined, on validation samples."""
    lines = []
    for run, name in zip(runs, names, strict=True):
        alone, combined = per_source(run, "val"), run.get("val", "accuracy")
        if len(alone) < 2 or combined is None:
            continue
        best = max(alone, key=lambda source: alone[source])
        if alone[best] > combined:
            test = per_source(run, "test").get(best)
            lines.append(
                f"{name}: {best} alone has a validation error of {error(alone[best])}, all combined "
                f"{error(combined)}; test error alone {error(test)}"
            )
    return lines


def per_source(run: RunRecord, split: str) -> dict[str, float]:
    """Returns the accuracy of every single source for which it was measured."""
    accuracies = run.get(split, "per_block_accuracy") or {}
    return {name: value for name, value in accuracies.items() if value is not None}


def _bars(run: RunRecord, accuracies: dict[str, float]) -> Picture:
    colours = colours_of(run)
    bars = [(name, 100 * (1 - value), colours.get(name, MUTED)) for name, value in accuracies.items()]
    if (combined := run.get("test", "accuracy")) is not None:
        bars.append(("combined", 100 * (1 - combined), INK))
    figure = new_figure(6.4, 0.75 + 0.26 * len(bars))
    ax = figure.add_subplot()
    names, errors, fills = zip(*bars, strict=True)
    places = range(len(bars))
    drawn = ax.barh(places, errors, color=fills, height=0.66)
    ax.bar_label(drawn, [f"{value:.2f}" for value in errors], padding=4, fontsize=7.5)
    ax.set_yticks(places, list(map(label, names)))
    ax.set_ylim(len(bars) - 0.5, -0.5)  # the first block at the top
    ax.margins(x=0.1)
    ax.set_xlim(left=0)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("test error (%)")
    return Picture("blocks", figure, "Test error of every single source of evidence, and of all combined.")
