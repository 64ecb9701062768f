"""The folder that a run leaves behind."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ffcore.errors import UserError
from ffcore.files import write_whole


def check(path: Path | None) -> None:
    """Refuse a folder that a run could not be written to, before anything is computed.

    Raises:
        UserError: when it is there and not empty, or is a file.
    """
    if path is None or not path.exists():
        return
    if not path.is_dir():
        raise UserError(f"--run-dir {path}: there is a file of that name")
    if any(path.iterdir()):
        raise UserError(f"--run-dir {path}: not empty; runs never overwrite, name a new folder")


def create(path: Path | None, recipe: str) -> Path:
    """Make the folder: ``path``, or ``runs/<recipe>-<time>`` with a number where that is taken.

    Raises:
        UserError: when it cannot be made.
    """
    check(path)
    try:
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
            return path
        stem = Path("runs") / f"{recipe.replace('/', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
        stem.parent.mkdir(exist_ok=True)
        for number in range(1, 1000):
            made = stem if number == 1 else stem.with_name(f"{stem.name}-{number}")
            try:
                made.mkdir()  # fails if another run of this second has made it
            except FileExistsError:
                continue
            return made
    except OSError as error:
        raise UserError(f"--run-dir {path or 'runs'}: cannot be written to: {error.strerror}") from error
    raise UserError(f"--run-dir: {stem} and 999 more are taken")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing to the folder at the same time; a killed process keeps nobody out.

    Raises:
        UserError: when another process is at it.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{path}: another process is writing to this run") from error
        yield
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN is an error, since it is no JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
