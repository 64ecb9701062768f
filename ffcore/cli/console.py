"""Tables that stay readable in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

PIPED_WIDTH = 100


def console() -> Console:
    """A console on standard output; a pipe is 100 columns wide."""
    plain = Console(markup=False, highlight=False, emoji=False)
    if not plain.is_terminal:
        plain.width = PIPED_WIDTH
    return plain


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose first column is never broken and whose others wrap."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*row)
    target = console()
    # a long name widens the table rather than being cut
    target.width = max(target.width, target.measure(table).minimum)
    target.print(table)
