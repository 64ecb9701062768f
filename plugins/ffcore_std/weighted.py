"""An objective with a weight, L = w · objective(G)."""

from __future__ import annotations

from torch import Tensor

from ffcore.interfaces import Context, Objective, Views
from ffcore.options import ByName, NonNegative
from ffcore.parts import part


class Weighted(Objective):
    """Any objective times a weight, beside penalties.

    Args:
        objective: the objective, such as {kind: logistic, threshold: 2}.
        weight: w; with 0 only the penalties teach the block.
    """

    examples = ({"objective": "logistic", "weight": 0.5}, {"objective": "cross-entropy"})

    def __init__(self, objective: Objective | ByName, weight: NonNegative = 1.0) -> None:
        super().__init__()
        self.objective: Objective = part("objective", objective)
        self.weight = weight
        self.accepts = self.objective.accepts  # type: ignore[misc]
        self.reads = self.objective.reads  # type: ignore[misc]
        self.couples_samples = self.objective.couples_samples  # type: ignore[misc]

    def setup(self, context: Context) -> None:
        """Set the objective up."""
        self.objective.column_of = self.column_of
        self.objective.setup(context)

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R,) or (R, K) → a scalar."""
        loss: Tensor = self.weight * self.objective(goodness, views)
        return loss

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor] | None:
        """See `Objective.with_derivative`."""
        made = self.objective.with_derivative(goodness, views)
        return None if made is None else (self.weight * made[0], self.weight * made[1])

    def boundary(self) -> float | None:
        """See `Objective.boundary`."""
        return self.objective.boundary()
