"""The contract of layer contributions, which combine evidence into one score per class.

L sources; N samples; K classes.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context

NEEDS = frozenset({"train.loss", "val.loss", "val.scores"})
"""What `LayerContribution.needs` may name."""


class LayerContribution(Component):
    """Combines the evidence of L sources.

    ``needs`` names the arguments that `observe` needs: ``train.loss``, ``val.loss`` (L objectives, means over
    an epoch's samples) or ``val.scores`` (the evidence (L, N, K) of the whole split, and its classes).

    For early exits, which combine the evidence of the blocks that have run, a copy is set up with these
    sources alone. A contribution with ``needs`` gets zeros for the others instead.
    """

    needs: frozenset[str] = frozenset()

    def setup(self, context: Context) -> None:
        """Choose among the sources of evidence, ``context.sources``, in the order of the scores.

        Raises:
            ValueError: when a required source does not exist.
        """

    def observe(self, split: str, losses: Tensor | None, scores: Tensor | None, y: Tensor | None) -> None:
        """Receive the values named in ``needs``, before the evidence of that epoch is combined.

        Args:
            split: "train" or "val".
            losses: (L,) mean objective of each source; NaN for a source without one, or one that did not
                learn.
            scores: (L, N, K) evidence.
            y: (N,) true classes.
        """

    @abstractmethod
    def combine(self, scores: Tensor) -> Tensor:
        """Combine evidence into scores, (L, N, K) → (N, K). The largest score is the prediction."""
