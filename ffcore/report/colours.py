"""Colours of blocks and readouts, the same in all pictures of a report."""

from __future__ import annotations

from ffcore.report.record import RunRecord
from ffcore.report.style import READOUTS, depth_colours


def colours_of(run: RunRecord) -> dict[str, str]:
    """Returns the colours of the blocks in order of depth, then of the readouts."""
    blocks = run.blocks
    readouts = [name for name, kind in run.sources.items() if kind == "readout" and name not in blocks]
    # Readouts have no depth: they get colours outside of the scale of the blocks.
    return depth_colours(blocks) | {name: READOUTS[i % len(READOUTS)] for i, name in enumerate(readouts)}
