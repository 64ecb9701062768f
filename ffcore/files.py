"""The files of a run's folder, and how any of them is written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

CONFIG, RESULTS, METRICS, ARRAYS = "config.yaml", "results.json", "metrics.csv", "arrays.npz"
CHECKPOINTS = "checkpoints"
SUMMARY = "summary.json"
"""In the folder of several runs."""
_DRAFT = ".tmp"


def remove_drafts(folder: Path) -> None:
    """Remove the drafts that a killed process has left in a folder that nobody writes to."""
    for draft in folder.glob(f".*-*{_DRAFT}"):
        draft.unlink(missing_ok=True)


def write_whole(target: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary name and rename, so that nobody ever sees half a file.

    Args:
        target: the file to make or to replace.
        write: writes everything to the path that it is given.

    Raises:
        OSError: it cannot be written; names the target.
    """
    try:
        _write_whole(target, write)
    except (OSError, RuntimeError) as error:
        cause = _of_the_system(error)
        if cause is None:
            raise
        raise OSError(cause.errno, cause.strerror, str(target)) from error


def _of_the_system(error: BaseException | None) -> OSError | None:
    """What the system had against a file of ours: torch makes a RuntimeError of it."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    ours = error is not None and (error.filename is None or str(error.filename).endswith(_DRAFT))
    return error if ours else None


def _write_whole(target: Path, write: Callable[[Path], object]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=_DRAFT, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)  # mkstemp makes files that only their owner may read
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
