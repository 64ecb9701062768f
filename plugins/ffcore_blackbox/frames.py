"""Frames: arrays as bytes, for programs and servers that answer batches.

4 bytes FFB1 · number of dimensions, unsigned 32 bits · each dimension, unsigned 64 bits · the numbers as
32-bit floats in C order; all little-endian
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

MAGIC = b"FFB1"
HEAD = struct.Struct("<4sI")
MOST = 8
"""Maximum number of dimensions of an answer; more means that the bytes are not a frame."""


def encoded(rows: np.ndarray[Any, Any]) -> bytes:
    """Return the frame of an array."""
    numbers = np.ascontiguousarray(rows, dtype="<f4")
    return (
        HEAD.pack(MAGIC, numbers.ndim) + struct.pack(f"<{numbers.ndim}Q", *numbers.shape) + numbers.tobytes()
    )


def size(answer: bytes | bytearray) -> int:
    """Return the size of a frame in bytes, as far as it is known from its first bytes.

    Raises:
        ValueError: when they are not the beginning of a frame.
    """
    if not MAGIC.startswith(bytes(answer[:4])):
        raise ValueError(f"{bytes(answer[:40])!r} instead of a frame")
    if len(answer) < HEAD.size:
        return HEAD.size
    (dimensions,) = struct.unpack_from("<I", answer, 4)
    if dimensions > MOST:
        raise ValueError(f"a frame of {dimensions} dimensions; at most {MOST} are read")
    start: int = HEAD.size + 8 * dimensions
    if len(answer) < start:
        return start
    shape: tuple[int, ...] = struct.unpack_from(f"<{dimensions}Q", answer, HEAD.size)
    return start + 4 * math.prod(shape)


def decoded(frame: bytes | bytearray) -> np.ndarray[Any, Any]:
    """Return the array of a whole frame."""
    (dimensions,) = struct.unpack_from("<I", frame, 4)
    shape = struct.unpack_from(f"<{dimensions}Q", frame, HEAD.size)
    return np.frombuffer(frame, dtype="<f4", offset=HEAD.size + 8 * dimensions).reshape(shape)
