"""Samples and targets as the graphs take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcore.edge.about import About
from ffcore.edge.bundle import finite
from ffcore.edge.errors import EdgeError
from ffcore.edge.files import Array


class Inputs:
    """Checks samples and targets, and turns stored values into inputs of the network.

    Args:
        about: what the bundle holds.
    """

    def __init__(self, about: About) -> None:
        self.about = about
        self._factor = self._offset = None
        if about.stored is not None:
            # as ffcore's loader: x · factor - offset, both computed in float64 and rounded once
            per_channel = (-1, *[1] * (len(about.shape) - 1)) if about.shape else ()
            inverse = 1 / np.array(about.stored["std"], np.float64)
            factor = about.stored["scale"] * inverse
            offset = np.array(about.stored["mean"], np.float64) * inverse
            self._factor = factor.astype(np.float32).reshape(per_channel)
            self._offset = offset.astype(np.float32).reshape(per_channel)

    def x(self, x: Any) -> Array:
        """Return inputs (N, *shape) of samples; float64 becomes float32.

        Raises:
            EdgeError: another shape or dtype, no samples, or values that are not finite.
        """
        x = np.asarray(x)
        kinds, sort = ("ui", "integers") if self.about.dtype == "int64" else ("f", "floats")
        if self._factor is not None:
            kinds, sort = "uif", "stored values (integers or floats)"
        if x.shape[1:] != self.about.shape or x.ndim == 0 or x.dtype.kind not in kinds:
            right = ", ".join(map(str, ("N", *self.about.shape)))
            raise EdgeError(f"x: should be {sort} ({right}), not {x.dtype} {x.shape}")
        if not len(x):
            raise EdgeError("x: has no samples")
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            made: Array = x.astype(self.about.dtype, copy=False)
        if self._factor is not None:
            made = made * self._factor
            made -= self._offset
        if not finite(made):
            raise EdgeError("x: has values that are not finite (NaN or infinite)")
        return made

    def y(self, y: Any, n: int) -> Array:
        """Return the targets of n samples: int64 (N,) classes, or float32 (N, columns).

        Raises:
            EdgeError: another shape or dtype, another number than n, or values outside the classes or labels.
        """
        target, columns = self.about.target, self.about.columns
        if target == "none":
            return np.zeros((n, 0), np.float32)
        y = np.asarray(y)
        if y.ndim and len(y) != n:
            raise EdgeError(f"x has {n} samples, but y has {len(y)} targets")
        if target == "class":
            if y.dtype.kind not in "ui" or y.shape != (n,):
                raise EdgeError(f"y: should be integers ({n},), not {y.dtype} {y.shape}")
            if n and (y.min() < 0 or y.max() >= columns):
                raise EdgeError(f"y: classes should be 0 … {columns - 1}, not {y.min()} … {y.max()}")
            classes: Array = y.astype(np.int64, copy=False)
            return classes
        if columns == 1 and y.shape == (n,):
            y = y.reshape(n, 1)
        kinds, sort = ("f", "floats") if target == "values" else ("buif", "zeros and ones")
        if y.shape != (n, columns) or y.dtype.kind not in kinds:
            raise EdgeError(f"y: should be {sort} ({n}, {columns}), not {y.dtype} {y.shape}")
        if target == "labels" and not ((y == 0) | (y == 1)).all():
            raise EdgeError("y: labels should be 0 or 1; there are other values")
        made: Array = y.astype(np.float32, copy=False)
        if not finite(made):
            raise EdgeError("y: has values that are not finite (NaN or infinite)")
        return made

    def check(self, x: Any, y: Any) -> tuple[Array, Array, int]:
        """Check a whole data set before any of it is used.

        Returns:
            x and y as arrays, and the number of samples.

        Raises:
            EdgeError: as for `x` and `y`.
        """
        x = np.asarray(x)
        n = len(x) if x.ndim else 0
        for start in range(0, max(n, 1), 1024):  # in parts: a converted copy of all may not fit into memory
            self.x(x[start : start + 1024] if x.ndim else x)
        return x, self.y(y, n), n
