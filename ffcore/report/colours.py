"""The colour that a block or readout has in every picture of a report."""

from __future__ import annotations

from ffcore.report.record import RunRecord
from ffcore.report.style import READOUTS, depth_colours


def colours_of(run: RunRecord) -> dict[str, str]:
    """Colours of the blocks in order of depth, then of the readouts."""
    blocks = run.blocks
    readouts = [name for name, kind in run.sources.items() if kind == "readout" and name not in blocks]
    return depth_colours(blocks) | {name: READOUTS[i % len(READOUTS)] for i, name in enumerate(readouts)}
