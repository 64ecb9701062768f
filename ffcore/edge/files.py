"""Reading of .npz files, and writing of files that are complete or not there."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ffcore.edge.errors import EdgeError, StoppedError, reason

Array = NDArray[Any]
_BROKEN = (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error)


class Arrays:
    """The arrays of an open .npz file, read one at a time.

    Attributes:
        names: names of the arrays.
    """

    def __init__(self, where: str, stored: Any) -> None:
        self._where, self._stored = where, stored
        self.names = frozenset(stored.files)

    def __getitem__(self, name: str) -> Array:
        """Return one array.

        Raises:
            EdgeError: it is missing, damaged, or a pickle.
        """
        if name not in self.names:
            raise EdgeError(f"{self._where}: has no array {name}")
        try:
            array: Array = self._stored[name]
        except _BROKEN as error:
            if "allow_pickle" in str(error):
                text = f"{name} is a pickle, which could run code; store numbers"
            else:
                text = f"{name} cannot be read, so the file is damaged: {reason(error)}"
            raise EdgeError(f"{self._where}: {text}") from error
        return array


@contextmanager
def arrays(path: Path) -> Iterator[Arrays]:
    """Open an .npz file. Pickles are never loaded.

    Raises:
        EdgeError: it does not exist, is truncated, or is another sort of file.
    """
    if not path.is_file():
        raise EdgeError(f"{path}: no such file")
    try:
        opened = path.open("rb")
    except OSError as error:
        raise EdgeError(f"{path}: cannot be read: {reason(error)}") from error
    with opened as file:  # given a path, NumPy leaves a damaged file open
        try:
            stored = np.load(file, allow_pickle=False)
        except _BROKEN as error:
            text = "not a complete .npz file (a zip of arrays, as numpy.savez writes it)"
            raise EdgeError(f"{path}: {text}") from error
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise EdgeError(f"{path}: holds one array; use an .npz file, as numpy.savez writes it")
        with stored:
            yield Arrays(str(path), stored)


def write_arrays(path: Path, made: Iterable[tuple[str, Array]]) -> None:
    """Write arrays as .npz, one at a time. Equal arrays give equal bytes.

    Raises:
        EdgeError: as for `write_whole`.
    """

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in made:
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    write_whole(path, write)


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside the old one, then rename it: the old file stays until the new one is on the disk.

    Args:
        path: the file.
        write: writes the content.

    Raises:
        EdgeError: the path is a device or a directory.
        StoppedError: the disk is full, or cannot be written.
    """
    refuse_path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with draft.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        kept = "; the old file is unchanged" if path.exists() else ""
        raise StoppedError(f"{path}: cannot be written: {reason(error)}{kept}") from error


def refuse_path(path: Path) -> None:
    """Raise if no ordinary file can be at a path.

    Raises:
        EdgeError: it is a device or a directory, or its directory does not exist.
    """
    if not path.parent.is_dir():
        raise EdgeError(f"{path}: the directory {path.parent} does not exist")
    if path.exists() and not path.is_file():
        raise EdgeError(f"{path}: is not an ordinary file; choose another path")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    # the new name is on the disk only when its directory is
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
