"""The contract of layer contributions: how evidence becomes one score a class."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context


class LayerContribution(Component):
    """Combines the evidence of L sources.

    ``needs`` names what `observe` has to be fed with: ``train.loss``, ``val.loss`` (L objectives, means over
    an epoch's samples) or ``val.scores`` (the evidence (L, N, K) of the whole split, and its classes).
    """

    needs: frozenset[str] = frozenset()

    def setup(self, context: Context) -> None:
        """Look at the sources of evidence, ``context.sources``, in the order of the scores.

        Raises:
            ValueError: when the source that it should use is not there.
        """

    def observe(self, split: str, losses: Tensor | None, scores: Tensor | None, y: Tensor | None) -> None:
        """See an epoch's figures, as asked for in ``needs``, before the evidence of that epoch is combined.

        Args:
            split: "train" or "val".
            losses: (L,) mean objective of each source; NaN for one that has none, or did not learn.
            scores: (L, N, K) evidence.
            y: (N,) true classes.
        """

    @abstractmethod
    def combine(self, scores: Tensor) -> Tensor:
        """(L, N, K) evidence → (N, K) scores; the largest is the prediction."""
