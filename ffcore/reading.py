"""Reads files that others may have made: regular files only, and never more than fits into memory.

A named pipe or a device would block a reader or never end; a damaged file makes its decoder raise errors of
many types. Here all of these are a `UserError` of one line that names the file.
"""

from __future__ import annotations

import os
import stat
import warnings
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffcore.errors import UserError, one_line, reason

if TYPE_CHECKING:
    import numpy as np

TEXT = 2**28
"""Largest size of a text file (YAML, JSON, CSV) in bytes."""

_SORTS = (
    (stat.S_ISDIR, "Is a directory"),
    (stat.S_ISFIFO, "Is a named pipe, not a file"),
    (stat.S_ISSOCK, "Is a socket, not a file"),
    (stat.S_ISCHR, "Is a device, not a file"),
    (stat.S_ISBLK, "Is a device, not a file"),
)


@cache  # asked for before each large tensor
def memory() -> int:
    """Returns the memory that this process can have in bytes: the machine's, or that of a control group."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits()])


def _limits(proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Yields the memory limits of the control groups of this process: of a container, of a cluster's job."""
    try:
        lines = proc.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers in ("", "memory"):  # version 2 has one hierarchy, version 1 one for each controller
            root, name = mount / controllers, "memory.limit_in_bytes" if controllers else "memory.max"
            inner = root / group.lstrip("/")
            # the innermost group need not be the one with the limit; a container sees its own as the root
            for folder in dict.fromkeys((root, inner, *inner.parents)):
                with suppress(OSError, ValueError):  # no such file; "max" means without a limit
                    yield int((folder / name).read_text(encoding="ascii"))


def size_of(path: Path, most: int | None = None) -> int:
    """Returns the size of a regular file in bytes.

    Args:
        path: the file.
        most: the largest size; None for the size of the memory.

    Raises:
        UserError: the file is missing, cannot be read, is not a regular file or is too large.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
    for is_sort, what in _SORTS:
        if is_sort(status.st_mode):
            raise UserError(f"{path}: cannot be read: {what}")
    limit = memory() if most is None else most
    if status.st_size > limit:
        raise UserError(f"{path}: has {size(status.st_size)}; the largest file read here has {size(limit)}")
    return status.st_size


@contextmanager
def opened(path: Path, most: int | None = None) -> Iterator[BufferedReader]:
    """Open a regular file for reading; ``path`` and ``most`` as for `size_of`.

    Raises:
        UserError: as for `size_of`.
    """
    size_of(path, most)
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
    with file:
        yield file


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Returns the content of a regular file; ``path`` and ``most`` as for `size_of`.

    Raises:
        UserError: as for `size_of`.
    """
    try:
        with opened(path, most) as file:
            return file.read()
    except (OSError, MemoryError) as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error


def read_text(path: Path, most: int = TEXT) -> str:
    """Returns the content of a UTF-8 file; ``path`` and ``most`` as for `size_of`.

    Raises:
        UserError: as for `size_of`, or the file is not UTF-8.
    """
    content = read_bytes(path, most)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: is not text in UTF-8: byte {content[error.start]:#04x} at position {error.start}"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Returns the content of a JSON file whose top level is a mapping. NaN and infinity are not JSON.

    Raises:
        UserError: as for `size_of`, or the file is not JSON.
    """
    from pydantic_core import from_json  # limits nesting, and refuses lone surrogates: they are not text

    try:
        content = from_json(read_bytes(path, TEXT), allow_inf_nan=False)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{str(path)!r} is not JSON: {one_line(error, 200)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{str(path)!r} is a {type(content).__name__}, not a mapping")
    return content


def read_arrays(path: Path, names: Collection[str] | None = None, most: int | None = None) -> Any:
    """Returns the arrays of an ``.npz`` file by name: dict[str, np.ndarray]. Nothing is unpickled.

    Args:
        path: the file.
        names: the arrays to read; the others are not opened. None for all.
        most: largest number of bytes of all arrays together; None for half of the memory, since the arrays
            are copied when they are converted and split.

    Raises:
        UserError: as for `size_of`, or the file is not an ``.npz`` file of plain arrays.
    """
    limit = memory() // 2 if most is None else most
    arrays: dict[str, np.ndarray] = {}
    with opened(path, most) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's about headers of old versions
        member = ""
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                read = {name: info for name, info in members.items() if names is None or name in names}
                # the size in the directory bounds what zipfile unpacks
                if (total := sum(info.file_size for info in read.values())) > limit:
                    raise UserError(f"{path}: its arrays have {size(total)}; the most read is {size(limit)}")
                for member, info in read.items():
                    with archive.open(info) as stream:
                        arrays[member] = _array(stream)
        except UserError:
            raise
        except Exception as error:  # zipfile, zlib and NumPy raise errors of many types for a damaged file
            raise UserError(f"{path}: {member}{': ' * bool(member)}{_npz_problem(error)}") from error
    return arrays


def _npz_problem(error: Exception) -> str:
    if "allow_pickle" in str(error):
        return "cannot be read, not a plain array; Python objects are not read"
    # zipfile's for encryption and unknown compression, which are no damage
    damaged = "" if isinstance(error, RuntimeError) else ", the file is damaged"
    return f"cannot be read{damaged}: {one_line(error, 200)}"


def names_of_arrays(path: Path) -> list[str]:
    """Returns the names of the arrays in an ``.npz`` file.

    Raises:
        UserError: as for `read_arrays`.
    """
    with opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist()]
        except Exception as error:
            raise UserError(f"{path}: {_npz_problem(error)}") from error


def expanded(name: str | os.PathLike[str]) -> Path:
    """Returns a path with the home directory in place of ``~``.

    Raises:
        UserError: the user in ``~user`` does not exist, or no file can have this name.
    """
    try:
        path = Path(name).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # the caller's message has the files that it looked for
    except (OSError, RuntimeError, ValueError) as error:
        shown = text if len(text := os.fspath(name)) <= 200 else f"{text[:200]}…"
        raise UserError(f"{shown!r}: cannot be read: {reason(error)}") from error
    return path


def is_text(name: str) -> bool:
    """Returns whether UTF-8 can store a string. Names of files may have bytes that are not UTF-8.

    >>> is_text("猫"), is_text(bytes([0xE9]).decode(errors="surrogateescape"))
    (True, False)
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def size(count: float) -> str:
    """Formats a number of bytes.

    >>> size(2**31), size(800)
    ('2.0 GiB', '800 bytes')
    """
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def _array(stream: Any) -> np.ndarray:
    import numpy as np

    return np.lib.format.read_array(stream, allow_pickle=False)
