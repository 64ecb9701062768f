"""An example of a program for the body `program`: a layer with faults that its user does not know.

    python -m ffcore_zero.device [SEED]

    y = tanh(x (A ⊙ W)ᵀ + o),  A = 1 + 0.3 ξ, a third of the cells of W dead, o = 0.5 ξ

Copy it and change `Device`. It does not depend on ffcore.
"""

from __future__ import annotations

import struct
import sys
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Device:
    """Holds weights and runs them.

    Args:
        seed: seed of the faults.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.gain: Array = np.zeros(())

    def set(self, weight: Array) -> None:
        """Set the weights (U, D)."""
        if self.gain.shape != weight.shape:
            rng = np.random.default_rng(self.seed)
            alive = rng.random(weight.shape) > 1 / 3
            self.gain = np.where(alive, 1 + 0.3 * rng.standard_normal(weight.shape), 0.0)
            self.offset = 0.5 * rng.standard_normal(len(weight))
        self.weight = self.gain * weight

    def run(self, rows: Array) -> Array:
        """(R, D) → (R, U)."""
        made: Array = np.tanh(rows @ self.weight.T + self.offset)
        return made


def read() -> Array | None:
    """Return the next frame of the standard input; None at its end."""
    source = sys.stdin.buffer
    if not (head := source.read(8)):
        return None
    magic, dimensions = struct.unpack("<4sI", head)
    assert magic == b"FFB1"
    shape = struct.unpack(f"<{dimensions}Q", source.read(8 * dimensions))
    return np.frombuffer(source.read(4 * int(np.prod(shape))), dtype="<f4").reshape(shape)


def main() -> None:
    """Answer until the input ends."""
    device, target = Device(*map(int, sys.argv[1:2])), sys.stdout.buffer
    while (weight := read()) is not None and (rows := read()) is not None:
        if weight.size:  # an empty frame: as before
            device.set(weight)
        made = np.ascontiguousarray(device.run(rows), dtype="<f4")
        target.write(struct.pack(f"<4sI{made.ndim}Q", b"FFB1", made.ndim, *made.shape))
        target.write(made.tobytes())
        target.flush()


if __name__ == "__main__":
    main()
