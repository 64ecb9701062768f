"""The folder that a run leaves behind."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ffcore.errors import LostError, RunError, UserError
from ffcore.files import RESULTS, write_whole
from ffcore.plugin import manager

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def check(path: Path | None) -> None:
    """Refuse a folder that a run could not be written to, before anything is computed.

    Raises:
        UserError: when it is there and not empty, or is a file.
    """
    try:
        if path is None or not path.exists():
            return
        if not path.is_dir():
            raise UserError(f"--run-dir {path}: there is a file of that name")
        if any(path.iterdir()):
            raise UserError(f"--run-dir {path}: not empty; runs never overwrite, name a new folder")
    except OSError as error:
        raise UserError(f"--run-dir {path}: cannot be looked into: {error.strerror}") from error


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


def nearest(path: Path | None) -> Path:
    """The folder around a run's that is there already; the run's own, if it is."""
    path = path if path is not None else Path("runs") / "run"
    return next(folder for folder in (path, *path.parents) if folder.exists())


@contextmanager
def undone(path: Path, there: Path) -> Iterator[None]:
    """Take away what has been written, if what is done here fails: the run has not begun.

    Args:
        path: the run's folder, which was empty or not there.
        there: the `nearest` before it was made.

    Raises:
        UserError: in place of what the system has against a file.
    """
    try:
        yield
    except BaseException as error:
        for entry in path.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for folder in (path, *path.parents):
            if folder == there:
                break
            folder.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"--run-dir {path}: cannot be written to: {error.strerror}") from error
        raise


def refuse_read_only(path: Path) -> None:
    """Find out whether files can be written, before anything is computed.

    Raises:
        UserError: they cannot.
    """
    try:
        if path.exists():
            with tempfile.TemporaryFile(dir=path) as file:
                file.write(b"ffcore")
                file.flush()
    except OSError as error:
        raise UserError(f"{path}: cannot be written to: {error.strerror}") from error


@contextmanager
def told_how_to_go_on(path: Path) -> Iterator[None]:
    """Whatever ends a run early, a full disk or Ctrl-C: say where it is, and what to do with it.

    Raises:
        RunError: in place of what the system has against a file.
        KeyboardInterrupt: with these words.
    """
    try:
        yield
    except OSError as error:
        file = error.filename if isinstance(error.filename, str) else str(path)
        if error.errno not in _NO_ROOM and not Path(file).absolute().is_relative_to(path.absolute()):
            raise
        raise RunError(
            f"{file}: cannot be written ({error.strerror}); what was written before it is intact: make room, "
            f"then {_next(path)}"
        ) from error
    except LostError as lost:
        lost.hint = _next(path)
        raise
    except KeyboardInterrupt as stopped:
        said = str(stopped) or (
            f"{path} is finished" if (path / RESULTS).exists() else f"{path} is not finished"
        )
        raise KeyboardInterrupt(f"{said}; {_next(path)}") from None


def _next(path: Path) -> str:
    if (path / RESULTS).exists():
        return f"make its report with `{manager.command('report', str(path))}`"
    return f"go on with `{manager.command('run', '--resume', str(path))}`"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing to the folder at the same time; a killed process keeps nobody out.

    Raises:
        UserError: when another process is at it.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
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
