"""Where samples come from.

    x_n = c_y + σ ξ_n           K centres c on the unit circle, y_n uniform, ξ standard normal

N samples; K classes.
"""

from __future__ import annotations

import numpy as np

from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.options import Count, Natural, NonNegative


class Mine(Dataset):
    """Points around centres on the unit circle.

    Args:
        classes: number of classes K.
        samples: number of training samples; a quarter as many are for the test.
        spread: σ.
        seed: seed of the points.
    """

    def __init__(
        self, classes: Count = 3, samples: Count = 400, spread: NonNegative = 0.2, seed: Natural = 0
    ) -> None:
        self.classes, self.samples, self.spread, self.seed = classes, samples, spread, seed

    def peek(self) -> tuple[tuple[int, ...], int]:
        """Return the shape of a sample and the number of classes, which are known without reading."""
        return (2,), self.classes

    def load(self) -> ImageSet:
        """Read the samples: float32, int64 or bytes (N, *shape); classes are int64 (N,)."""
        rng = np.random.default_rng(self.seed)
        return ImageSet(
            name="mine",
            train=self._points(self.samples, rng),
            test=self._points(max(self.classes, self.samples // 4), rng),
            classes=tuple(str(k) for k in range(self.classes)),
            scale=1.0,
            provenance={"points": f"numpy {np.__version__}, seed {self.seed}"},
        )

    def _points(self, n: int, rng: np.random.Generator) -> Split:
        y = np.arange(n) % self.classes
        angle = 2 * np.pi * y / self.classes
        x = np.stack([np.cos(angle), np.sin(angle)], 1) + self.spread * rng.standard_normal((n, 2))
        return Split(x.astype(np.float32), y.astype(np.int64))
