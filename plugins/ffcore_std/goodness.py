"""Goodness of a block whose activity is class logits. R rows; K classes."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ffcore.interfaces import Context, Goodness, c99
from ffcore.interfaces.goodness import Form


class Logits(Goodness):
    """The activity (R, K) is the goodness of each class: g_k = h_k."""

    form: ClassVar[Form] = "class"

    def setup(self, context: Context) -> None:
        """Check that the activity has one number per class.

        Raises:
            ValueError: when the activity's shape is not (K,).
        """
        if context.shape != (context.classes,):
            raise ValueError(
                f"goodness logits: block {context.name} has activity {context.shape} for {context.classes} "
                "classes"
            )

    def forward(self, activity: Tensor) -> Tensor:
        """(R, K) → (R, K)."""
        return activity

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """Return ``up``, since the derivative is 1."""
        return up

    def c99(self) -> c99.Logits:
        """Return the C form; see `ffcore.interfaces.c99`."""
        return c99.Logits()
