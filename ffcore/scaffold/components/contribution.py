"""How the evidence of several sources becomes one score a class.

    score_nk = max_l softmax_k(evidence_lnk)

L sources; N samples; K classes.
"""

from __future__ import annotations

from torch import Tensor

from ffcore.interfaces import LayerContribution


class Mine(LayerContribution):
    """The most certain source decides."""

    def combine(self, scores: Tensor) -> Tensor:
        """(L, N, K) → (N, K). The largest score of a row is the prediction."""
        return scores.softmax(2).amax(0)
