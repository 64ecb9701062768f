"""A cache of decoded images: one file of their bytes, which is memory-mapped.

N images of one shape, (C, H, W).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ffcore.errors import UserError
from ffcore.files import write_whole
from ffcore.reading import read_bytes, read_json, size_of

FORMAT = 1
READERS = 4  # threads that read files: they wait for a slow disk
GROUP = 64  # files per task of a reader
ABANDONED_S = 3600.0  # age in seconds of a draft that a killed process must have left

Decode = Callable[[Path, bytes], np.ndarray]


@dataclass(frozen=True)
class Packed:
    """The content of the cache.

    Attributes:
        x: uint8 (N, C, H, W) of each part, memory-mapped; changes stay in memory.
        digests: sha256 of the names and bytes of each part's source files, in order.
    """

    x: Mapping[str, np.ndarray]
    digests: Mapping[str, str]


def pack(
    file: Path, root: Path, parts: Mapping[str, Sequence[Path]], shape: tuple[int, ...], decode: Decode
) -> Packed:
    """Read images from the cache `file`; decode them again if it is missing, damaged or out of date.

    The cache is out of date if a source file has another name, path, size or modification time. It is damaged
    if its length or sha256 differs from its header, FILE.json. In both cases there is a warning, and the
    images are decoded again. Two processes may do this at the same time: the file of the last one is kept.

    Args:
        file: the cache; its directory is created if missing.
        root: directory of the source files; their names below it are part of the digests.
        parts: the source files of each part, in order.
        shape: (C, H, W) of every image.
        decode: returns an image, uint8 of that shape, from a path and its bytes; raises UserError.

    Raises:
        UserError: a source file cannot be read or decoded, or `file` cannot be written; no cache is left.
    """
    wanted = {
        "format": FORMAT,
        "shape": list(shape),
        "counts": {part: len(paths) for part, paths in parts.items()},
        "source": _listing(root, parts),
    }
    _remove_drafts(file)
    if file.exists():
        try:
            return _stored(file, wanted)
        except (_UnusableError, OSError) as reason:
            warnings.warn(f"{file}: {reason}; the images are decoded again", stacklevel=2)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Removed before the new files are written: the disk may not have room for both. The header first, so
        # that no other process reads a header without its images.
        for stale in (_header(file), file):
            stale.unlink(missing_ok=True)
        header = wanted | _write(file, root, parts, decode)
        # Map the file before its header exists: another process that finds no header removes the file, but a
        # mapping stays valid.
        whole = _mapped(file, header)
        try:
            write_whole(_header(file), lambda draft: draft.write_text(json.dumps(header), encoding="utf-8"))
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return _packed(whole, header)
    except OSError as error:
        raise UserError(
            f"{file}: cannot be written: {error.strerror}; set data.cache=DIRECTORY to a disk with space"
        ) from error


class _UnusableError(Exception):
    """The cache cannot be used; the message gives the reason."""


def _header(file: Path) -> Path:
    return file.with_suffix(".json")


def _stored(file: Path, wanted: Mapping[str, Any]) -> Packed:
    try:
        header = read_json(_header(file))
        known = {key: header[key] for key in wanted}
        digest, digests = header["sha256"], header["digests"]
        if not all(isinstance(digests[part], str) for part in wanted["counts"]):
            raise TypeError
    except (ValueError, KeyError, TypeError) as error:
        raise _UnusableError("its header is missing or damaged") from error
    if known != wanted:
        raise _UnusableError("the source files have changed since it was made")
    size = sum(wanted["counts"].values()) * int(np.prod(wanted["shape"]))
    if (length := size_of(file)) != size:
        raise _UnusableError(f"its length is {length} bytes, not {size}")
    whole = _mapped(file, header)
    if hashlib.sha256(whole.data).hexdigest() != digest:
        raise _UnusableError("its checksum is wrong")
    return _packed(whole, header)


def _mapped(file: Path, header: Mapping[str, Any]) -> np.ndarray:
    count = sum(header["counts"].values())
    # "c" is copy-on-write: torch needs a writable array, and the file is not changed
    return np.memmap(file, np.uint8, "c", shape=(count, *header["shape"]))


def _packed(whole: np.ndarray, header: Mapping[str, Any]) -> Packed:
    first, x = 0, {}
    for part, count in header["counts"].items():
        x[part] = whole[first : first + count]
        first += count
    return Packed(x, header["digests"])


def _listing(root: Path, parts: Mapping[str, Sequence[Path]]) -> str:
    """Returns a digest of the names, sizes and modification times of all files."""
    digest, above = hashlib.sha256(), str(root)
    for part, paths in parts.items():
        digest.update(f"{part}\0{len(paths)}\0".encode())
        for path in paths:
            try:
                known = os.stat(path)
            except OSError as error:
                raise UserError(f"{path}: cannot be read: {error.strerror}") from error
            name = str(path).removeprefix(above)  # relative_to would double the time of this function
            digest.update(os.fsencode(f"{name}\0{known.st_size}\0{known.st_mtime_ns}\0"))
    return digest.hexdigest()


def _write(file: Path, root: Path, parts: Mapping[str, Sequence[Path]], decode: Decode) -> dict[str, Any]:
    """Decode all images into the file. Returns the digests for the header."""
    sources = {part: hashlib.sha256() for part in parts}
    payload = hashlib.sha256()

    def write(draft: Path) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with (
            draft.open("wb") as out,
            Progress(*columns, console=console, disable=not console.is_terminal) as bar,
        ):
            task = bar.add_task("decoding", total=sum(map(len, parts.values())))
            for part, paths in parts.items():
                for path, data in zip(paths, _read_ahead(paths), strict=True):
                    name = path.relative_to(root).as_posix()
                    sources[part].update(os.fsencode(f"{name}\0{len(data)}\0"))
                    sources[part].update(data)
                    pixels = decode(path, data).tobytes()
                    payload.update(pixels)
                    out.write(pixels)
                    bar.advance(task)

    write_whole(file, write)
    return {
        "digests": {part: digest.hexdigest() for part, digest in sources.items()},
        "sha256": payload.hexdigest(),
    }


def _read_ahead(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield the bytes of each file, read in advance by threads.

    The threads do not decode: small images release the GIL for so short a time that several decoding threads
    are slower than one.
    """
    groups = (paths[first : first + GROUP] for first in range(0, len(paths), GROUP))
    with ThreadPoolExecutor(READERS) as pool:
        waiting = deque(pool.submit(_read, group) for group in islice(groups, 2 * READERS))
        while waiting:
            ready = waiting.popleft().result()
            waiting.extend(pool.submit(_read, group) for group in islice(groups, 1))
            yield from ready


def _read(paths: Sequence[Path]) -> list[bytes]:
    return [read_bytes(path) for path in paths]


def _remove_drafts(file: Path) -> None:
    """Remove drafts that killed processes have left."""
    for draft in file.parent.glob(f".{file.stem}-*.tmp"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > ABANDONED_S:
                draft.unlink()
