"""Calls of black boxes, and of programs inside of blocks: how often, on how many rows, for how long."""

from __future__ import annotations

from ffcore.report.record import RunRecord
from ffcore.report.section import Section
from ffcore.report.text import NOTHING, count, duration, literal, markdown_table

PURPOSES = ("fitting", "learning", "measuring")


def boxes(run: RunRecord) -> Section | None:
    """Returns the section with the calls of each box or program by purpose; None without one."""
    rows = []
    for name, uses in (run.get("boxes") or {}).items():
        for purpose in PURPOSES:
            if use := uses.get(purpose):
                seconds = use["seconds"]
                each = f"{1e6 * seconds / use['rows']:,.0f} µs" if use["rows"] else NOTHING
                rows.append(
                    [
                        literal(name),
                        purpose,
                        count(use["calls"]),
                        count(use["rows"]),
                        duration(seconds),
                        each,
                        ", ".join(f"{count(n)} {literal(what)}" for what, n in use.get("counts", {}).items()),
                    ]
                )
    if not rows:
        return None
    text = (
        "Fitting: fits of a box, and calls of other boxes for them. Learning: training steps. Measuring: "
        "validation, history and test. On a GPU a call may end before its work does."
    )
    columns = ["box or program", "", "calls", "rows", "time", "a row", "counts of its own"]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Section("Black boxes", f"{markdown_table(columns, rows)}\n\n{text}")
