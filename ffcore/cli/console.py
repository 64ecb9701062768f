"""Tables that stay readable when the output is piped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

PIPED_WIDTH = 100
_WIDEST = 10_000
_REST = 12
"""Minimum width of the other columns."""


class Plain(Console):
    """A console that prints text unchanged: names and paths may contain [brackets] and :colons:.

    Args:
        quiet: print nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, quiet=quiet)

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError; rich would end the process."""
        raise  # noqa: PLE0704 (rich calls it while it handles the error)


def console() -> Console:
    """Returns a console on standard output; a pipe has the width of ``COLUMNS``, or 100 columns."""
    plain = Plain()
    if not plain.is_terminal:
        given = os.environ.get("COLUMNS", "")
        plain.width = int(given) if given.isdigit() and 0 < int(given) < _WIDEST else PIPED_WIDTH
    return plain


def print_whole(table: Table) -> None:
    """Print a table; the console is widened where columns that do not wrap would be cut."""
    target = console()
    target.width = max(target.width, Measurement.get(target, target.options, table).minimum)
    target.print(table)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. The first column, the names, is never shortened; the others wrap."""
    rows = list(rows)
    longest = max(cell_len(row[0]) for row in [columns, *rows])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", min_width=None if index else longest)
    for row in rows:
        table.add_row(*row)
    target = console()
    # Widen the console rather than shorten names: a piped table must stay usable for grep and awk.
    target.width = max(target.width, longest + _REST * (len(columns) - 1))
    target.print(table)
