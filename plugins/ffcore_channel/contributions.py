"""Layer contributions that look at how well the layers do.

L sources; N samples; K classes.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ffcore.interfaces import Context, LayerContribution


class _Weighted(LayerContribution):
    """Σ_i w_i · evidence_i; before the first observation all blocks count alike, readouts never do."""

    weights: Tensor
    blocks: list[int]

    def setup(self, context: Context) -> None:
        """Find the blocks.

        Raises:
            ValueError: when no block has a goodness.
        """
        self.blocks = [i for i, source in enumerate(context.sources) if source.role == "block"]
        if not self.blocks:
            raise ValueError(
                "no block gives evidence: give the blocks a goodness, or use contribution: readout"
            )
        weights = torch.zeros(len(context.sources))
        weights[self.blocks] = self._equal(len(self.blocks))
        self.register_buffer("weights", weights)

    def _equal(self, blocks: int) -> float:
        return 1 / blocks

    def combine(self, scores: Tensor) -> Tensor:
        """(L, N, K) → (N, K)."""
        weights = self.weights.to(scores.dtype)
        # what a diverged block says is no number: times zero it would spoil the sum
        counting = scores.where(weights.view(-1, 1, 1) > 0, 0)
        combined: Tensor = torch.tensordot(weights, counting, 1)
        return combined

    def arrays(self) -> dict[str, Tensor]:
        """What reports draw: ``weights``."""
        return {"weights": self.weights}


class LossWeighted(_Weighted):
    """w = softmax(−ℓ) over the blocks, ℓ_i block i's mean objective (CAW-Conv, arXiv:2606.09928).

    Readouts, and blocks whose loss is not finite or was not measured, weigh nothing. If no block has a loss,
    the weights stay as they are; so do the equal ones of a run without validation data.

    Args:
        split: whose loss; val: the paper's; train: that of the authors' code, a mean over the epoch.
    """

    needs = frozenset({"val.loss"})
    examples = ({"split": "train"},)

    def __init__(self, split: Literal["val", "train"] = "val") -> None:
        super().__init__()
        self.split = split
        self.needs = frozenset({f"{split}.loss"})

    def observe(self, split: str, losses: Tensor | None, scores: Tensor | None, y: Tensor | None) -> None:
        """Weigh anew."""
        if split != self.split or losses is None:
            return
        mine = losses[self.blocks].to(self.weights)
        mine = torch.where(mine.isfinite(), mine, torch.inf)
        if mine.isfinite().any():
            self.weights[self.blocks] = torch.softmax(-mine, 0)


class BestRange(_Weighted):
    """Σ of the blocks s … e whose sum is right most often on validation data (SIP: DeeperForward, ICLR 2025).

    Of ranges that are equally good the widest one counts, since more layers vary less, and of those the one
    that begins first. All blocks before the first validation.
    """

    needs = frozenset({"val.scores"})
    range: Tensor

    def setup(self, context: Context) -> None:
        """Find the blocks.

        Raises:
            ValueError: when no block has a goodness.
        """
        super().setup(context)
        self.register_buffer("range", torch.tensor([0, len(self.blocks) - 1]))

    def _equal(self, blocks: int) -> float:
        return 1.0

    def observe(self, split: str, losses: Tensor | None, scores: Tensor | None, y: Tensor | None) -> None:
        """Try all ranges."""
        if split != "val" or scores is None or y is None:
            return
        hits = _hits(scores[self.blocks], y)
        start, end = max(hits, key=lambda pair: (hits[pair], pair[1] - pair[0], -pair[0]))
        self.range.copy_(torch.tensor([start, end]))
        self.weights.zero_()
        self.weights[self.blocks[start : end + 1]] = 1


def _hits(evidence: Tensor, y: Tensor) -> dict[tuple[int, int], int]:
    """How many samples the sum over each range, first to last, of (L, N, K) gets right."""
    counts = {}
    for start in range(len(evidence)):
        total = torch.zeros_like(evidence[0])
        for end in range(start, len(evidence)):
            total += evidence[end]
            counts[start, end] = (total.argmax(1) == y).sum()
    return dict(zip(counts, torch.stack(list(counts.values())).tolist(), strict=True))
