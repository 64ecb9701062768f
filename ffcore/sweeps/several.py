"""Compares several sweeps: a row for each point of each, with mean and deviation over its seeds."""

from __future__ import annotations

from collections.abc import Sequence

from ffcore.errors import UserError
from ffcore.report.measure import Measure
from ffcore.sweeps.sweep import Sweep, plus_minus, shown


def compared(sweeps: Sequence[Sweep]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Returns the head and the rows of the table. Sweeps of several tasks have a column with their measure.

    Raises:
        UserError: one is a search, whose trials are no runs of one point.
    """
    for sweep in sweeps:
        if sweep.search is not None:
            raise UserError(f"{str(sweep.folder)!r} is a search: name directories of runs in it")
    recipes = [sweep.recipe for sweep in sweeps]
    names = recipes if len(set(recipes)) == len(recipes) else [str(sweep.folder) for sweep in sweeps]
    measures = [Measure.of({"task": sweep.task}) for sweep in sweeps]
    rows = []
    for sweep, name, measure in zip(sweeps, names, measures, strict=True):
        for point, runs in sweep.points().items():
            tests, vals = shown(sweep, runs)
            values = [plus_minus(tests, sweep.digits), plus_minus(vals, sweep.digits)]
            rows.append([" ".join([name, *point]), str(len(tests)), measure.label, *values])
    if len(set(measures)) > 1:
        return ("sweep", "runs", "measure", "test", "val."), rows
    label = measures[0].label
    return ("sweep", "runs", f"test {label}", f"val. {label}"), [[*row[:2], *row[3:]] for row in rows]
