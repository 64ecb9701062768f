"""The error of every source of evidence, and of all sources combined; of another task its headline."""

from __future__ import annotations

from collections.abc import Sequence

from ffcore.report.colours import colours_of
from ffcore.report.measure import Measure
from ffcore.report.record import RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.style import INK, MUTED, label, new_figure
from ffcore.report.text import code, literal, markdown_table, number


def evidence(run: RunRecord) -> Section | None:
    """Returns the section with the error of every source and of all combined; None with one source."""
    measure, results = Measure.of(run.results), run.results
    test, val = measure.sources(results, "test"), measure.sources(results, "val")
    names = list(dict.fromkeys((*test, *val)))
    if len(names) < 2:
        return None
    columns = ["source of evidence", f"test {measure.name}", f"validation {measure.name}"]
    rows = [[literal(name), measure.text(test.get(name)), measure.text(val.get(name))] for name in names]
    rows.append(
        ["**combined**", *(measure.text(measure.stored(results, split)) for split in ("test", "val"))]
    )
    body = markdown_table(columns, rows)
    if how := run.get("contribution"):
        body += f"\n\nCombined by {code(how)}. The table also has the sources that it does not use."
    return Section("Single blocks and combined", body, [_bars(run, measure, test)] if test else [])


def better_alone(runs: Sequence[RunRecord], names: Sequence[str]) -> list[str]:
    """Return a line for each run whose best source alone beats all combined, on validation samples."""
    lines = []
    for run, name in zip(runs, names, strict=True):
        measure = Measure.of(run.results)
        alone, combined = measure.sources(run.results, "val"), measure.stored(run.results, "val")
        if len(alone) < 2 or combined is None:
            continue
        best = max(alone, key=lambda source: measure.score(alone[source]))
        if measure.score(alone[best]) > measure.score(combined):
            test = measure.sources(run.results, "test").get(best)
            lines.append(
                f"{name}: {best} alone has a validation {measure.name} of {measure.text(alone[best])}, all "
                f"combined {measure.text(combined)}; test {measure.name} alone {measure.text(test)}"
            )
    return lines


def _bars(run: RunRecord, measure: Measure, stored: dict[str, float]) -> Picture:
    colours = colours_of(run)
    bars = [(name, measure.shown(value), colours.get(name, MUTED)) for name, value in stored.items()]
    if (combined := measure.stored(run.results, "test")) is not None:
        bars.append(("combined", measure.shown(combined), INK))
    figure = new_figure(6.4, 0.75 + 0.26 * len(bars))
    ax = figure.add_subplot()
    names, values, fills = zip(*bars, strict=True)
    places = range(len(bars))
    drawn = ax.barh(places, values, color=fills, height=0.66)
    texts = [number(value) if measure.headline else f"{value:.2f}" for value in values]
    ax.bar_label(drawn, texts, padding=4, fontsize=7.5)
    ax.set_yticks(places, list(map(label, names)))
    ax.set_ylim(len(bars) - 0.5, -0.5)  # the first block at the top
    ax.margins(x=0.1)
    if min(values) >= 0:
        ax.set_xlim(left=0)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"test {measure.label}")
    caption = f"Test {measure.name} of every single source of evidence, and of all combined."
    return Picture("blocks", figure, caption)
