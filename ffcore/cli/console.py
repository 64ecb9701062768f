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
_REST = 14
"""Minimum width of columns beside the first one, if they have so much text. Numbers and words of the head are
never broken."""
_SHORT = 10
"""The same in a terminal that is too narrow for it."""
_GAP = 3
"""Width of the space between two columns."""
_LEAST = 24
"""Narrowest column of names in a terminal; below that the table is wider than the terminal."""


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
    unlimited = target.options.update(max_width=_WIDEST)  # rich limits what it measures to the maximum
    target.width = max(target.width, Measurement.get(target, unlimited, table).minimum)
    target.print(table)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of which nothing is cut. Cells wrap; names only in a terminal too narrow for them.

    A pipe is widened instead, so that names stay usable for grep and awk.
    """
    rows = list(rows)
    widths = [max(cell_len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    target = console()
    for rest in (_REST, _SHORT):
        least = [widths[0]]
        for i, width in enumerate(widths[1:], 1):
            numbers = (word for row in rows for word in row[i].split() if word[0].isdecimal())
            least.append(max(min(width, rest), *map(cell_len, [*columns[i].split(), *numbers])))
        room = target.width - sum(least[1:]) - _GAP * len(columns)
        if not target.is_terminal or room >= min(least[0], _LEAST):
            break
    if target.is_terminal and _LEAST <= room < least[0]:
        least[0] = room
    target.width = max(target.width, sum(least) + _GAP * len(columns))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, width in zip(
        columns, _shared(target.width - _GAP * len(columns), least, widths), strict=True
    ):
        table.add_column(column, overflow="fold", width=width)
    for row in rows:
        table.add_row(*row)
    target.print(table)


def _shared(room: int, least: Sequence[int], most: Sequence[int]) -> list[int]:
    """Returns widths of columns from ``least`` to ``most`` that share the room, those that lack least first.

    Rich would take from the widest columns, also what they cannot spare, and cut the last one.

    >>> _shared(80, [35, 14, 7], [35, 60, 7])
    [35, 38, 7]
    """
    widths, room = list(least), room - sum(least)
    order = sorted(range(len(least)), key=lambda i: most[i] - least[i])
    for left, i in zip(range(len(order), 0, -1), order, strict=True):
        more = min(most[i] - least[i], max(room, 0) // left)
        widths[i] += more
        room -= more
    return widths
