"""Reads files of data sets."""

from __future__ import annotations

from pathlib import Path

from ffcore.errors import UserError


def read_bytes(path: Path) -> bytes:
    """Returns the content of a file.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
