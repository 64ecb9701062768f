"""A factor on every block's learning rate, as a function of time."""

from __future__ import annotations

from ffcore.options import Positive


class Mine:
    """Decays with the square root of time, 1/√(1 + epoch/scale).

    Args:
        scale: epochs after which the rate is 0.71 of the first.
    """

    def __init__(self, scale: Positive = 5.0) -> None:
        self.scale = scale

    def factor(self, epoch: float, epochs: int) -> float:
        """Return the factor after ``epoch`` of ``epochs`` epochs; ``epoch`` may be fractional."""
        return float((1 + epoch / self.scale) ** -0.5)
