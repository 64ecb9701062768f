"""Layer contributions whose weights depend on the losses or the accuracy of the layers.

    score_nk = Σ_l w_l evidence_lnk

L sources; N samples; K classes.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ffcore.interfaces import Context, LayerContribution, Task
from ffcore.tasks import Classification
from ffcore_std.contributions import blocks_with_evidence


class _Weighted(LayerContribution):
    """Weighted sum of evidence. Blocks start with equal weights; readouts have weight 0."""

    weights: Tensor
    blocks: list[int]

    def setup(self, context: Context) -> None:
        """Find the blocks.

        Raises:
            ValueError: when no block has a goodness.
        """
        self.blocks = blocks_with_evidence(context)
        # a buffer, so that a checkpoint contains the weights
        weights = torch.zeros(len(context.sources))
        weights[self.blocks] = self._equal(len(self.blocks))
        self.register_buffer("weights", weights)

    def _equal(self, blocks: int) -> float:
        return 1 / blocks

    def combine(self, scores: Tensor) -> Tensor:
        """(L, N, *P, K) → (N, *P, K)."""
        weights = self.weights.to(scores.dtype)
        # the evidence of a diverged block is non-finite, and NaN times a weight of 0 is NaN
        counting = scores.where(weights.view(-1, *[1] * (scores.dim() - 1)) > 0, 0)
        combined: Tensor = torch.tensordot(weights, counting, 1)
        return combined

    def arrays(self) -> dict[str, Tensor]:
        """Return ``weights``, for reports."""
        return {"weights": self.weights}


class LossWeighted(_Weighted):
    """Weights by loss, w = softmax(−ℓ) over the blocks (CAW-Conv).

    arXiv:2606.09928. ℓ_i is block i's mean objective. Readouts, and blocks whose loss is non-finite or was
    not measured, have weight 0. If no block has a loss, the weights do not change. Without validation data
    they remain equal.

    Args:
        split: the split whose loss is used; val: as in the paper; train: as in the authors' code, a mean over
            the epoch.
    """

    needs = frozenset({"val.loss"})
    examples = ({"split": "train"},)

    def __init__(self, split: Literal["val", "train"] = "val") -> None:
        super().__init__()
        self.split = split
        self.needs = frozenset({f"{split}.loss"})

    def observe(self, split: str, losses: Tensor | None, scores: Tensor | None, y: Tensor | None) -> None:
        """Compute the weights of the losses."""
        if split != self.split or losses is None:
            return
        of_blocks = losses[self.blocks].to(self.weights)
        of_blocks = torch.where(of_blocks.isfinite(), of_blocks, torch.inf)
        if of_blocks.isfinite().any():
            # Softmax gives blocks with an infinite loss a weight of 0.
            self.weights[self.blocks] = torch.softmax(-of_blocks, 0)


class BestRange(_Weighted):
    """Sum over the range of blocks with the best validation accuracy (SIP).

    DeeperForward, ICLR 2025. In another task than the classification of samples the headline takes the place
    of accuracy. Of equally good ranges it takes the widest, since more layers vary less, and of these the
    first. Before the first validation it uses all blocks.
    """

    needs = frozenset({"val.scores"})
    range: Tensor

    def setup(self, context: Context) -> None:
        """Find the blocks.

        Raises:
            ValueError: when no block has a goodness, or nothing is predicted.
        """
        super().setup(context)
        self.task = context.task or Classification(context.classes)
        if self.task.target == "none":
            raise ValueError("best-range: without targets there is no accuracy; use mean")
        self.register_buffer("range", torch.tensor([0, len(self.blocks) - 1]))

    def _equal(self, blocks: int) -> float:
        return 1.0

    def observe(self, split: str, losses: Tensor | None, scores: Tensor | None, y: Tensor | None) -> None:
        """Choose the best range."""
        if split != "val" or scores is None or y is None:
            return
        found = _qualities(scores[self.blocks], y, self.task)
        start, end = max(found, key=lambda pair: (found[pair], pair[1] - pair[0], -pair[0]))
        self.range.copy_(torch.tensor([start, end]))
        self.weights.zero_()
        self.weights[self.blocks[start : end + 1]] = 1


def _qualities(evidence: Tensor, y: Tensor, task: Task) -> dict[tuple[int, int], float]:
    """Return how good the predictions of each range (first, last) are, for evidence (L, N, *P, K).

    Of one class a sample it is the number of correct ones, of another task its headline, with its sign
    changed if lower is better.
    """
    found: dict[tuple[int, int], Tensor] = {}
    for start in range(len(evidence)):
        total = torch.zeros_like(evidence[0])
        for end in range(start, len(evidence)):
            total += evidence[end]
            found[start, end] = _quality(total, y, task)
    # tensors until here: one transfer from the device for all of them
    return dict(zip(found, torch.stack([*found.values()]).tolist(), strict=True))


def _quality(scores: Tensor, y: Tensor, task: Task) -> Tensor:
    if type(task) is Classification:
        return (scores.argmax(1) == y).sum()
    measure = task.precise_measures()[task.headline].to(scores.device)
    measure.update(*task.measurable(scores, y))
    value: Tensor = measure.compute()
    return (-value if task.lower else value).nan_to_num(nan=-torch.inf)
