"""The run directory: made, locked, written and, after an early error, removed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ffcore import stdout
from ffcore.errors import BoxError, LostError, RunError, UserError, reason, shortened
from ffcore.files import CONFIG, RESULTS, is_draft, write_whole
from ffcore.plugin import manager
from ffcore.ranks import where
from ffcore.reading import is_text

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def check(path: Path | None) -> None:
    """Check that the run directory is new or empty, before the run computes anything.

    Raises:
        UserError: it is a file, is not empty, or cannot be read.
    """
    try:
        given = (path or Path()).absolute()
        if not is_text(str(given)):  # the files of a run hold the path
            raise UserError(f"run directory {str(path or '.')!a}: not UTF-8 text; name another directory")
        if any(len(os.fsencode(name)) > 255 for name in given.parts):
            raise UserError(f"run directory {shortened(str(path), 200)}: a name has at most 255 bytes")
        if path is None or not path.exists():
            return
        if not path.is_dir():
            raise UserError(f"run directory {path}: is a file")
        if any(not is_draft(entry) for entry in path.iterdir()):
            advice = "name a new directory"
            if where.restarted() and (path / CONFIG).is_file():
                advice = "resume the run in it with --auto-resume"
            raise UserError(f"run directory {path}: not empty; runs never overwrite files, {advice}")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, UserError):
            raise
        raise UserError(f"run directory {path}: cannot be read: {reason(error)}") from error


def create(path: Path | None, recipe: str) -> Path:
    """Make the run directory: ``path``, or ``runs/<recipe>-<time>``, with a number if that exists.

    Raises:
        UserError: it cannot be made.
    """
    check(path)
    existing = nearest(path)
    try:
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
            return path
        stem = Path("runs") / f"{recipe.replace('/', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
        stem.parent.mkdir(exist_ok=True)
        for number in range(1, 1000):
            made = stem if number == 1 else stem.with_name(f"{stem.name}-{number}")
            try:
                made.mkdir()  # fails if another run has made it in the same second
            except FileExistsError:
                continue
            return made
    except OSError as error:
        for folder in path.parents if path is not None else (Path("runs"),):
            if folder == existing:
                break
            with suppress(OSError):  # it has not been made, or another process has used it
                folder.rmdir()
        raise UserError(f"run directory {path or 'runs'}: cannot be written to: {error.strerror}") from error
    raise UserError(f"run directory: {stem} and 998 numbered names exist; name another directory")


def nearest(path: Path | None) -> Path:
    """Returns the run directory, or its closest parent, that already exists."""
    path = path if path is not None else Path("runs") / "run"
    return next(folder for folder in (path, *path.parents) if folder.exists())


@contextmanager
def undone(path: Path, existing: Path) -> Iterator[None]:
    """Remove all files and directories that the run has made, if the body raises: the run has not begun.

    Args:
        path: the run directory, which was empty or missing before.
        existing: `nearest` before the run directory was made.

    Raises:
            UserError: instead of an OSError.
    """
    try:
        yield
    except BaseException as error:
        for entry in path.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for folder in (path, *path.parents):
            if folder == existing:
                break
            folder.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"run directory {path}: cannot be written to: {error.strerror}") from error
        raise


def refuse_read_only(path: Path) -> None:
    """Check that files can be written, before the run computes anything.

    Raises:
        UserError: a file cannot be written.
    """
    try:
        if path.exists():
            # Permission bits do not show a read-only mount or a full disk: write a file.
            with tempfile.TemporaryFile(dir=path) as file:
                file.write(b"ffcore")
                file.flush()
    except OSError as error:
        raise UserError(f"{path}: cannot be written to: {error.strerror}") from error


@contextmanager
def resume_hint(path: Path) -> Iterator[None]:
    """If the run ends early, by a full disk or Ctrl-C, add the command that resumes it to the message.

    Raises:
        RunError: instead of an OSError about a file of the run, and of a UserError.
        KeyboardInterrupt: with that message.
    """
    try:
        yield
    except OSError as error:
        if (problem := stdout.problem(error)) is not None:
            written = f"{stdout.NAME} cannot be written ({problem.strerror})"
            raise RunError(f"{written}; {_next(path)}") from error
        if error.errno is None:  # raised by code, such as a callback: no call of the system failed
            raise
        file = error.filename if isinstance(error.filename, str) else str(path)
        if error.errno not in _NO_ROOM and not Path(file).absolute().is_relative_to(path.absolute()):
            raise
        raise RunError(
            f"{file}: cannot be written ({error.strerror}); all files written before are intact: free disk "
            f"space, then {_next(path)}"
        ) from error
    except UserError as error:  # files have been written, so the exit code is 1
        if error.unwritten:
            raise
        raise RunError(str(error)) from error
    except BoxError as failed:
        advised = BoxError(f"{failed}; once the box works, {_next(path)}")
        advised.everywhere = failed.everywhere
        raise advised from failed
    except LostError as lost:
        lost.hint = _next(path)
        raise
    except KeyboardInterrupt as stopped:
        message = str(stopped) or (
            f"{path} is finished" if (path / RESULTS).exists() else f"{path} is not finished"
        )
        raise KeyboardInterrupt(f"{message}; {_next(path)}") from None


def _next(path: Path) -> str:
    if (path / RESULTS).exists():
        return f"make its report with `{manager.command('report', str(path))}`"
    return f"resume it with `{manager.command('run', '--resume', str(path))}`"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the directory against other processes. The lock ends with the process, also if it is killed.

    Raises:
        UserError: another process has locked the directory.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        try:
            # flock and not a lock file: the kernel releases it when the process ends
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{path}: another process is writing to this run") from error
        yield
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all."""
    write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, complete or not at all. NaN raises an error: JSON does not have it."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
