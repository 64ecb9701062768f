"""Negatives of any samples: corrupted and reordered ones, without a hypothesis.

    corrupted:  x_j ← x'_j with probability p, x' another sample of the batch
    reordered:  x ← x in a random order of its positions

N samples; T positions of a sample, tokens or columns of a table; p the share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ffcore.interfaces import BatchRNG, Context, NegativeData

_Negatives = tuple[Tensor, Tensor | None]
_Probs = Callable[[], Tensor]


class _WithPositions(NegativeData):
    """Negatives that change positions: tokens (T,), vectors (T, D) or (D, T), columns of a table."""

    hypotheses: ClassVar[bool] = False
    example_shape = (8,)
    dim: int

    def setup(self, context: Context) -> None:
        """Check that a sample has several positions.

        Raises:
            ValueError: when there is nothing to change.
        """
        shape = context.shape
        if not -len(shape) <= self.dim < len(shape) or shape[self.dim] < 2:
            raise ValueError(
                f"dim: samples of shape {shape} have no two positions along dimension {self.dim}"
            )
        self.positions = shape[self.dim]
        self.along = self.dim % len(shape) + 1  # the dimension of a batch

    def _at_positions(self, values: Tensor, x: Tensor) -> Tensor:
        """(N, T) → (N, 1, …, T, …, 1), which broadcasts over x."""
        sides = [1] * x.dim()
        sides[0], sides[self.along] = values.shape
        return values.view(sides)


class Corrupted(_WithPositions):
    """Takes a share of the positions from another sample of the batch: tokens, or columns of a table.

    Every position keeps its distribution, only the relations between positions are lost (Bahri et al. 2022,
    SCARF, arXiv:2106.15147, for tables; ELECTRA, Clark et al. 2020, arXiv:2003.10555, takes the other tokens
    from a model). At least one position comes from another sample; where columns have few values, it may be
    equal all the same, so that some negatives are the positives.

    Args:
        share: probability p of a position.
        dim: the dimension of a sample that counts its positions: 0 for tokens (T,) and (T, D), -1 for (D, T).
    """

    couples_samples: ClassVar[bool] = True

    def __init__(self, share: Annotated[float, Field(gt=0, le=1)] = 0.3, dim: Literal[0, -1] = 0) -> None:
        super().__init__()
        self.share, self.dim = share, dim

    def forward(self, x: Tensor, y: Tensor | None, probs: _Probs, rng: BatchRNG) -> _Negatives:
        """Return corrupted samples without hypotheses."""
        n = len(x)
        chance = rng.uniform("corrupted", self.positions)
        # the lowest chance is always below the threshold
        changed = chance <= chance.amin(1, keepdim=True).clamp_min(self.share)
        # each position from another sample, at a distance of 1 … n − 1, so that it is never the sample itself
        step = 1 + rng.integers("partner", max(1, n - 1), self.positions)
        partner = (torch.arange(n, device=x.device).unsqueeze(1) + step) % n
        others = x.gather(0, self._at_positions(partner, x).expand_as(x))
        return torch.where(self._at_positions(changed, x), others, x), None


class Reordered(_WithPositions):
    """Puts the positions of each sample into a random order: the same tokens, another sequence.

    Args:
        dim: the dimension of a sample that counts its positions: 0 for tokens (T,) and (T, D), -1 for (D, T).
    """

    def __init__(self, dim: Literal[0, -1] = 0) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor, y: Tensor | None, probs: _Probs, rng: BatchRNG) -> _Negatives:
        """Return reordered samples without hypotheses."""
        order = rng.uniform("order", self.positions).argsort(1)
        return x.gather(self.along, self._at_positions(order, x).expand_as(x)), None
