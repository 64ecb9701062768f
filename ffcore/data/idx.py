"""Reader of the IDX format, big-endian: two zero bytes, a type code, number of axes, shape, values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ffcore.errors import UserError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> np.ndarray:
    """Read one IDX file. It may be gzipped, whatever its name.

    Returns:
        The array, writable and in native byte order.

    Raises:
        UserError: the file cannot be read, is not IDX, or or does not have the length given by its header.
    """
    data = _read(Path(path))
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES or data[3] == 0:
        raise UserError(
            f"{path}: not an IDX file: expected it to begin 00 00 TYPE AXES, "
            f"found {data[:4].hex(' ') or 'nothing'}"
        )
    dtype, header = np.dtype(TYPES[data[2]]), 4 + 4 * data[3]
    if len(data) < header:
        raise UserError(f"{path}: expected an IDX header of {header} bytes, found {len(data)}")
    shape = struct.unpack(f">{data[3]}I", data[4:header])
    expected = header + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise UserError(f"{path}: expected {expected} bytes for shape {shape}, found {len(data)}")
    return np.frombuffer(data, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path}: expected a complete gzip file, found a damaged one: {error}") from error
