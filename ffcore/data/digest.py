"""Checksums of files, for the results of a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ffcore.reading import opened


def sha256(path: Path) -> str:
    """Returns the sha256 of a file's bytes, in hexadecimal.

    Raises:
        UserError: the file cannot be read, or is not a regular file.
    """
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
