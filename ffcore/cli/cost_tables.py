"""The cost sheet of a network, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.padding import Padding
from rich.table import Table

from ffcore.report.cost_sheet import (
    BLOCK_COLUMNS,
    MEMORY_COLUMNS,
    OF_BLOCKS,
    OF_MEMORY,
    block_rows,
    flash,
    memory_rows,
)


def printed(sheet: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what rich prints: the table of blocks, that of RAM, and notes.

    Args:
        sheet: ``CostSheet.as_dict()``.
    """
    yield _table(BLOCK_COLUMNS, block_rows(sheet), 1)
    yield OF_BLOCKS
    if sheet["memory"]:
        yield _table(MEMORY_COLUMNS, memory_rows(sheet), 2)
        yield OF_MEMORY
    yield flash(sheet)
    yield from (f"Note: {note}." for note in sheet["notes"])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> Padding:
    """Return a table after an empty line; all columns but the first ``words`` are numbers."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < words else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return Padding(table, (1, 0, 0, 0))
