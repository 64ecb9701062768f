"""Files of data sets, whole."""

from __future__ import annotations

from pathlib import Path

from ffcore.errors import UserError


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
