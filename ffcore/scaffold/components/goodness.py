"""How good a block finds an activity.

    G = (1/U) Σ_j |h_j|

R rows; U units; h (R, *shape) the activity of a block; G (R,) goodness.
"""

from __future__ import annotations

from torch import Tensor

from ffcore.interfaces import Goodness


class Mine(Goodness):
    """Mean absolute activity, G = mean |h|."""

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R,).

        For goodness of classes set ``form = "class"`` and return (R, K), with K from ``context.classes`` in
        `setup`. The recipe then needs an algorithm and an objective that read it, such as those of
        digits/mono-forward.
        """
        return activity.abs().flatten(1).mean(1)
