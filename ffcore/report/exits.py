"""Early exits of a run: error against multiplications, and the table of the ways to predict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ffcore.report.exit_record import ExitRecord, Point, Tried
from ffcore.report.record import RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.style import INK, MUTED, NEGATIVE, POSITIVE, READOUTS, label, new_figure
from ffcore.report.text import NOTHING, count, error, literal, markdown_table, number, percent, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WAY_COLUMNS = ("prediction", "test error", "validation error", "blocks", "multiplications", "ms a sample")
EXIT_COLUMNS = ("exit after", "blocks", "multiplications", "leaves from a margin of", "share of test samples")


def way_rows(record: ExitRecord) -> list[list[str]]:
    """Returns the cells of the table of ways to predict; costs are those of test data.

    Args:
        record: the content of ``exits.json``.
    """
    return [
        [
            way.name,
            error(way.test.accuracy),
            error(way.validation.accuracy),
            f"{way.test.blocks:.2f}",
            count(way.test.multiplications),
            f"{way.milliseconds:.3g}",
        ]
        for way in record.ways
    ]


def exit_rows(record: ExitRecord) -> list[list[str]]:
    """Returns the cells of the table of exits.

    Args:
        record: the content of ``exits.json``.
    """
    rows = [
        [
            each.name,
            str(each.blocks),
            count(each.multiplications),
            number(each.threshold),
            percent(each.share),
        ]
        for each in record.exits
    ]
    rows[-1][3] = "all that are left"
    return rows


def notes(record: ExitRecord) -> list[str]:
    """Returns lines that explain the tables.

    Args:
        record: the content of ``exits.json``.
    """
    whole, early = record.ways[0], record.ways[1]
    share = early.test.multiplications / max(whole.test.multiplications, 1)
    points = round(100 * (whole.test.accuracy - early.test.accuracy), 2)
    worse = f"{abs(points):.2f} points {'worse' if points > 0 else 'better'}" if points else "equally good"
    threads = f"{record.threads} thread{'s' if record.threads > 1 else ''}"
    lines = [
        f"Exits on test data: {100 * share:.3g} % of the multiplications, {worse} "
        f"(standard error {record.standard_error:.2f}).",
        f"Thresholds were chosen on {count(record.samples['validation'])} validation samples: those with the "
        "fewest multiplications whose accuracy is at most the tolerance below that of all blocks "
        f"(tolerance: {record.tolerance:g} percentage points). A margin is the largest minus the second "
        "largest score.",
        f"Means over {count(record.samples['test'])} test samples, in batches of {record.batch_size} on the "
        f"{record.device.upper()} with {threads}. Multiplications are those of matrix products and "
        "convolutions.",
    ]
    if record.hypotheses:
        lines.append("Blocks try every class as a hypothesis; a readout reads one neutral pass.")
    return lines


def exits(run: RunRecord) -> Section | None:
    """Returns the section with the exits; None for a run without the file ``exits.json``."""
    record = ExitRecord.read(run.path)
    if record is None:
        return None
    tables = [
        markdown_table(WAY_COLUMNS, [[literal(name), *cells] for name, *cells in way_rows(record)]),
        markdown_table(EXIT_COLUMNS, [[literal(name), *cells] for name, *cells in exit_rows(record)]),
    ]
    return Section("Early exits", "\n\n".join([*tables, " ".join(notes(record))]), [_picture(record)])


def _picture(record: ExitRecord) -> Picture:
    figure = new_figure(5.6, 3.3)
    ax = figure.add_subplot()
    for split, colour in (("validation", POSITIVE), ("test", NEGATIVE)):
        places = [_place(_of(each, split)) for each in record.tried]
        ax.plot(*zip(*places, strict=True), "o-", color=colour, ms=2.5, lw=1.1, label=split)
        chosen = _place(_of(record.tried[record.chosen], split))
        ax.plot(*chosen, "D", color=colour, mfc="white", ms=6, zorder=4)
    ax.plot([], [], "D", color=INK, mfc="white", ms=6, label="chosen on validation")
    whole = 100 * (1 - record.ways[0].test.accuracy)
    ax.axhline(whole, color=MUTED, lw=1, ls=(0, (4, 3)), label="test, all blocks", zorder=1)
    for way, colour in zip(record.ways[2:], READOUTS * len(record.ways), strict=False):
        ax.plot(*_place(way.test), "s", color=colour, ms=4.5, label=f"test, {label(way.name)}")
    _axes(ax, record)
    return Picture(
        "exits",
        figure,
        "Error against the mean number of multiplications of a sample, for thresholds of early exits from "
        "all samples at the first exit to all blocks.",
    )


def _of(tried: Tried, split: str) -> Point:
    return tried.test if split == "test" else tried.validation


def _place(point: Point) -> tuple[float, float]:
    return point.multiplications, 100 * (1 - point.accuracy)


def _axes(ax: Axes, record: ExitRecord) -> None:
    """Make the x axis logarithmic if multiplications span a factor of 4; label the axes."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    points = [
        *(_of(t, s).multiplications for t in record.tried for s in ("test", "validation")),
        *(way.test.multiplications for way in record.ways),
    ]
    low, high = min(points), max(points)
    if low > 0 and high / low >= 4:
        ax.set_xscale("log")
        steps = [
            step * 10.0**power
            for power in range(int(math.log10(low)) - 1, int(math.log10(high)) + 2)
            for step in (1, 2, 5)
        ]
        ax.xaxis.set_major_locator(FixedLocator([s for s in steps if low / 1.3 <= s <= high * 1.3]))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value) if value >= 0 else NOTHING))
    ax.set_xlabel("multiplications a sample")
    ax.set_ylabel("error (%)")
    ax.set_title("Early exits")
    ax.legend()
