"""Names of the files of a run directory, and atomic writing of files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from ffcore.errors import UserError, shortened

CONFIG, RESULTS, METRICS, ARRAYS = "config.yaml", "results.json", "metrics.csv", "arrays.npz"
CHECKPOINTS = "checkpoints"
EXITS = "exits.json"
"""Thresholds of early exits, written by ``ffcore eval --exits``."""
ANALYSIS = "analysis.json"
"""What representations are like, written by ``ffcore eval --analysis``."""
SUMMARY = "summary.json"
"""In the directory of a sweep."""
_DRAFT = ".tmp"


def is_draft(path: Path) -> bool:
    """Return whether a file is a temporary file of `write_whole`; a killed process leaves it behind."""
    return path.match(f".*-*{_DRAFT}")


def remove_drafts(folder: Path) -> None:
    """Remove temporary files of a killed process. No other process may be writing to the directory."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_draft(path):
            path.unlink(missing_ok=True)


def write_new(target: Path, text: str) -> None:
    """Write the text file of a user, who named it.

    Raises:
        UserError: the file exists already, or cannot be written.
    """
    try:
        with target.open("x", encoding="utf-8") as file:  # "x" fails if the file exists
            file.write(text)
    except FileExistsError:
        raise UserError(f"{str(target)!r} already exists") from None
    except OSError as error:
        raise UserError(f"{shortened(str(target), 200)} cannot be written: {error.strerror}") from error


def write_whole(target: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary file and rename it: a reader never sees an incomplete file.

    Args:
        target: the file to create or replace.
        write: writes the whole content to the path that it is given.

    Raises:
        OSError: when the file cannot be written; the message names the target, not the temporary file.
    """
    try:
        _write_whole(target, write)
    except (OSError, RuntimeError) as error:
        cause = _of_the_system(error)
        if cause is None:
            raise
        raise OSError(cause.errno, cause.strerror, str(target)) from error


def _of_the_system(error: BaseException | None) -> OSError | None:
    """Return the OSError behind an error. torch raises a RuntimeError for a file that it cannot write."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    ours = error is not None and (error.filename is None or str(error.filename).endswith(_DRAFT))
    return error if ours else None


def _write_whole(target: Path, write: Callable[[Path], object]) -> None:
    # in the same directory: a rename between file systems is not atomic
    temporary = target.parent / f".{target.stem}-{secrets.token_hex(8)}{_DRAFT}"
    # not by mkstemp, whose files only their owner may read: the umask decides
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        write(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
