"""Where negative samples come from.

    negative_n = (x_n, (y_n + s_n) mod K),   s_n uniform in 1 … K − 1

N samples; K classes.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ffcore.interfaces import BatchRNG, Context, NegativeData


class Mine(NegativeData):
    """The sample itself under another class, drawn uniformly."""

    def setup(self, context: Context) -> None:
        """Note the number of classes.

        Raises:
            ValueError: when there is no other class.
        """
        self.classes = context.classes
        if self.classes < 2:
            raise ValueError("negatives need at least two classes")

    def forward(
        self, x: Tensor, y: Tensor | None, probs: Callable[[], Tensor], rng: BatchRNG
    ) -> tuple[Tensor, Tensor | None]:
        """Return the samples, and their wrong classes (N,)."""
        assert y is not None, "a wrong class needs the right one"
        return x, (y + 1 + rng.integers("mine", self.classes - 1)) % self.classes
