"""Reader of the IDX format, big-endian: two zero bytes, a type code, number of axes, shape, values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np

from ffcore.errors import UserError
from ffcore.reading import memory, opened, size, size_of

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


MOST_AXES = 8
"""NumPy has at most 64 axes; a file with more than these is not a data set."""

DEFLATE = 1032
"""No gzip file has more than this number of bytes for each of its own."""


def read_idx(path: str | Path) -> np.ndarray:
    """Read one IDX file. It may be gzipped, whatever its name.

    Returns:
        The array, writable and in native byte order.

    Raises:
        UserError: the file cannot be read, is not IDX, or does not have the length given by its header.
    """
    path = Path(path)
    length = size_of(path)
    with opened(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            unpacked: AbstractContextManager[Any] = (
                gzip.GzipFile(fileobj=file) if packed else nullcontext(file)
            )
            with unpacked as stream:
                return _read(path, stream, None if packed else length, length * DEFLATE)
        except (EOFError, OSError, zlib.error) as error:
            if not packed:
                raise UserError(f"{path}: cannot be read: {error}") from error
            raise UserError(f"{path}: expected a complete gzip file, found a damaged one: {error}") from error


def _read(path: Path, stream: IO[bytes], length: int | None, most: int) -> np.ndarray:
    """Returns the array of a stream of ``length`` bytes or, if that is not known, of at most ``most``."""
    begin = stream.read(4)
    if len(begin) < 4 or begin[:2] != b"\0\0" or begin[2] not in TYPES or begin[3] == 0:
        raise UserError(
            f"{path}: not an IDX file: expected it to begin 00 00 TYPE AXES, "
            f"found {begin.hex(' ') or 'nothing'}"
        )
    axes = begin[3]
    if axes > MOST_AXES:
        raise UserError(f"{path}: not an IDX file: expected at most {MOST_AXES} axes, found {axes}")
    dtype, header = np.dtype(TYPES[begin[2]]), 4 + 4 * axes
    numbers = stream.read(4 * axes)
    if len(numbers) < 4 * axes:
        raise UserError(f"{path}: expected an IDX header of {header} bytes, found {4 + len(numbers)}")
    shape = struct.unpack(f">{axes}I", numbers)
    wanted = math.prod(shape) * dtype.itemsize
    # Check before memory is asked for: a header can claim any size.
    found = f"at most {most}" if length is None and header + wanted > most else length
    if found not in (None, header + wanted):
        raise UserError(f"{path}: expected {header + wanted} bytes for shape {shape}, found {found}")
    if wanted > memory() // 2:  # the values are copied once below
        raise UserError(f"{path}: its values have {size(wanted)}, which do not fit into memory twice")
    data = stream.read(wanted)
    more = stream.read(1)  # of a gzip file this also checks the checksum at its end
    if len(data) != wanted or more:
        count = "more" if more else header + len(data)
        raise UserError(f"{path}: expected {header + wanted} bytes for shape {shape}, found {count}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
