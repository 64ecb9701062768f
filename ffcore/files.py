"""The files of a run's folder, and how any of them is written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

CONFIG, RESULTS, METRICS, FIGURES = "config.yaml", "results.json", "metrics.csv", "figures.npz"
CHECKPOINTS = "checkpoints"


def sweep(folder: Path) -> None:
    """Remove the drafts that a killed process has left in a folder that nobody writes to."""
    for draft in folder.glob(".*-*.tmp"):
        draft.unlink(missing_ok=True)


def write_whole(target: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary name and rename, so that nobody ever sees half a file.

    Args:
        target: the file to make or to replace.
        write: writes everything to the path that it is given.
    """
    handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=".tmp", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)  # mkstemp makes files that only their owner may read
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
