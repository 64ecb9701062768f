"""Negatives of any samples: corrupted and reordered ones, without a hypothesis.

    corrupted:  x_j ← x'_j with probability p, x' another sample of the batch
    reordered:  x ← x in a random order of its positions

A sample without another one in its batch takes x'_j from another of its own positions. With a
token for padding, positions that hold it, or whose other sample has it, do not change.

N samples; T positions of a sample, tokens or columns of a table; p the share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ffcore.interfaces import BatchRNG, Context, NegativeData
from ffcore.options import Natural

_Negatives = tuple[Tensor, Tensor | None]
_Probs = Callable[[], Tensor]


class _WithPositions(NegativeData):
    """Negatives that change positions: tokens (T,), vectors (T, D) or (D, T), columns of a table."""

    hypotheses: ClassVar[bool] = False
    example_shape = (8,)
    dim: int
    padding: int | None

    def setup(self, context: Context) -> None:
        """Check that a sample has several positions.

        Raises:
            ValueError: when there is nothing to change, or samples with padding are not tokens.
        """
        shape = context.shape
        if not -len(shape) <= self.dim < len(shape) or shape[self.dim] < 2:
            raise ValueError(
                f"dim: samples of shape {shape} have no two positions along dimension {self.dim}"
            )
        if self.padding is not None and len(shape) != 1:
            raise ValueError(f"padding: is for samples of tokens (T,), not {shape}")
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
        padding: the token (T,) that fills sequences up to one length; null: none. Then a sample may stay as
            it is.
    """

    couples_samples: ClassVar[bool] = True

    def __init__(
        self,
        share: Annotated[float, Field(gt=0, le=1)] = 0.3,
        dim: Literal[0, -1] = 0,
        padding: Natural | None = None,
    ) -> None:
        super().__init__()
        self.share, self.dim, self.padding = share, dim, padding

    def forward(self, x: Tensor, y: Tensor | None, probs: _Probs, rng: BatchRNG) -> _Negatives:
        """Return corrupted samples without hypotheses."""
        n = x.shape[0]
        chance = rng.uniform("corrupted", self.positions)
        if self.padding is not None:
            chance = chance.masked_fill(x == self.padding, 2.0)
        # the lowest chance is always below the threshold
        changed = chance <= chance.amin(1, keepdim=True).clamp_min(self.share)
        # each position from another sample, at a distance of 1 … n − 1, so that it is never the sample itself
        alone = n == 1  # no other sample: its other positions
        many, along = (self.positions, self.along) if alone else (n, 0)
        step = 1 + rng.integers("partner", max(1, many - 1), self.positions)
        own = torch.arange(many, device=x.device)
        partner = ((own if alone else own.unsqueeze(1)) + step) % many
        others = x.gather(along, self._at_positions(partner, x).expand_as(x))
        if self.padding is not None:
            changed &= (x != self.padding) & (others != self.padding)
        return torch.where(self._at_positions(changed, x), others, x), None


class Reordered(_WithPositions):
    """Puts the positions of each sample into a random order: the same tokens, another sequence.

    Args:
        dim: the dimension of a sample that counts its positions: 0 for tokens (T,) and (T, D), -1 for (D, T).
        padding: the token (T,) that fills sequences up to one length and stays in its place; null: none.
    """

    def __init__(self, dim: Literal[0, -1] = 0, padding: Natural | None = None) -> None:
        super().__init__()
        self.dim, self.padding = dim, padding

    def forward(self, x: Tensor, y: Tensor | None, probs: _Probs, rng: BatchRNG) -> _Negatives:
        """Return reordered samples without hypotheses."""
        keys = rng.uniform("order", self.positions)
        if self.padding is not None:
            filled = x == self.padding
            # the i-th place that is no padding gets the i-th token of a random order
            places, order = filled.int().argsort(dim=1, stable=True), keys.masked_fill(filled, 2.0).argsort(1)
            return torch.empty_like(x).scatter(1, places, x.gather(1, order)), None
        order = keys.argsort(1)
        return x.gather(self.along, self._at_positions(order, x).expand_as(x)), None
