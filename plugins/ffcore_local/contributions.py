"""Layer contributions of local errors.

    score_nk = Σ_l softmax_k(evidence_lnk)

L blocks; N samples; K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ffcore.interfaces import Context, LayerContribution
from ffcore_std.contributions import blocks_with_evidence


class SumOfSoftmax(LayerContribution):
    """Sum of the blocks' softmax probabilities (CaFo, Zhao et al. 2023, arXiv:2303.09728).

    A block with large logits counts no more than the others. Readouts are left out.
    """

    blocks: list[int]

    def setup(self, context: Context) -> None:
        """Choose the blocks.

        Raises:
            ValueError: when no block has a goodness, or targets are not one of K classes.
        """
        self.blocks = blocks_with_evidence(context)
        if context.task is not None and context.task.target != "class":
            raise ValueError(
                f"sum-of-softmax: is for one of K classes, not the task {context.task}; use mean or last"
            )

    def combine(self, scores: Tensor) -> Tensor:
        """(L, N, *P, K) → (N, *P, K)."""
        return torch.softmax(scores[self.blocks], -1).sum(0)
