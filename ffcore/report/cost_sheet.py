"""The cost sheet of a run: what its network costs on a device. See `ffcore.cost_sheet`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ffcore.report.record import RunRecord
from ffcore.report.section import Section
from ffcore.report.text import count, literal, markdown_table, size

BLOCK_COLUMNS = ("block", "parameters", "predict", "learn", "activities")
MEMORY_COLUMNS = ("RAM", "numbers", "batch", "parameters", "optimiser", "gradient", "activities", "total")

OF_BLOCKS = (
    "For one sample: multiplications to predict and to learn, in matrix products and convolutions, counted "
    "in steps of a copy; activities held while a block learns, in float32."
)
OF_MEMORY = (
    "RAM to learn from a batch. By block: activities and gradient of the largest block, all parameters and "
    "optimiser states. Streamed: parameters in flash, those of one block in RAM. Backprop: everything at "
    "once, with one row a sample. In int8 parameters and activities have one byte; gradients and optimiser "
    "states stay float32."
)


def block_rows(sheet: Mapping[str, Any]) -> list[list[str]]:
    """Returns the cells of the table of blocks, the last row with the sums.

    Args:
        sheet: ``CostSheet.as_dict()``.
    """
    rows = [[each["name"], *_counts(each), size(each["held"] or None)] for each in sheet["blocks"]]
    return [*rows, ["sum", *_counts(sheet), ""]]


def _counts(of: Mapping[str, Any]) -> list[str]:
    return [count(of[key]) for key in ("parameters", "predict", "learn")]


def memory_rows(sheet: Mapping[str, Any]) -> list[list[str]]:
    """Returns the cells of the table of RAM.

    Args:
        sheet: ``CostSheet.as_dict()``.
    """
    parts = ("parameters", "optimizer", "gradient", "activities", "total")
    return [
        [each["method"], each["numbers"], count(each["batch_size"]), *(size(each[part]) for part in parts)]
        for each in sheet["memory"]
    ]


def flash(sheet: Mapping[str, Any]) -> str:
    """Returns the line about flash.

    Args:
        sheet: ``CostSheet.as_dict()``.
    """
    return "Flash: " + ", ".join(f"{size(number)} in {name}" for name, number in sheet["flash"].items()) + "."


def cost_sheet(run: RunRecord) -> Section | None:
    """Returns the section with multiplications, RAM and flash; None for runs that have not counted them."""
    sheet = run.get("cost_sheet")
    if not sheet:
        return None
    rows = [[literal(name), *cells] for name, *cells in block_rows(sheet)]
    parts = [markdown_table(BLOCK_COLUMNS, rows), OF_BLOCKS]
    if sheet["memory"]:
        parts += [markdown_table(MEMORY_COLUMNS, memory_rows(sheet)), OF_MEMORY]
    parts += [flash(sheet), *(f"Note: {literal(note)}." for note in sheet["notes"])]
    return Section("Costs on a device", "\n\n".join(parts))
