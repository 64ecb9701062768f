"""Parameters and multiplications of the network, and of the heads that teach its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ffcore.report.record import RunRecord
from ffcore.report.section import Section
from ffcore.report.text import NOTHING, count, literal, markdown_table, short

_COLUMNS = ("parameters", "multiplications", "kept")


def costs(run: RunRecord) -> Section | None:
    """Returns the section with the cost of every block and its head; None if no block has a head."""
    every = run.get("blocks") or []
    blocks = [block for block in every if block.get("multiplications") is not None]
    if not any(block.get("head_parameters") for block in blocks):
        return None
    unknown = [NOTHING] * (2 * len(_COLUMNS))
    rows = [[literal(b["name"]), *(_cells(_of(b)) if b in blocks else unknown)] for b in every]
    if len(blocks) == len(every):
        rows.append(["**sum**", *_cells([sum(each) for each in zip(*map(_of, blocks), strict=True)])])
    columns = ("block", "parameters", "head", "multiplications", "head", "bytes kept", "head")
    text = (
        "A head is what has parameters in the goodness and the penalties of its block: it is needed to "
        "learn, and to predict only if the block's evidence counts. Multiplications are those of a forward "
        "pass of one sample in matrix products and convolutions, in all calls of the block, for circuits in "
        "one step. Bytes are those that autograd keeps for backward in the largest call, for one sample; "
        "closed forms of gradients keep less. Blocks with windows of their own never keep theirs at once. A "
        "dash: the block does not run on zeros, so its costs were not counted."
    )
    return Section("Costs", f"{markdown_table(columns, rows)}\n\n{text}")


def _of(block: dict[str, Any]) -> list[int]:
    """Returns body and head in turns. The parameters of a block contain those of its head."""
    pairs = [(block.get(name) or 0, block.get(f"head_{name}") or 0) for name in _COLUMNS]
    pairs[0] = (pairs[0][0] - pairs[0][1], pairs[0][1])
    return [number for pair in pairs for number in pair]


def _cells(numbers: Sequence[int]) -> list[str]:
    return [count(number) if i < 2 else short(number) for i, number in enumerate(numbers)]
