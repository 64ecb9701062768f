"""Codes that have no useful gradient: signs, steps, few bits, winners, tables.

R rows; U units of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ffcore.interfaces import BlackBox, Context
from ffcore.options import Count

_FITTED_ON = 20
"""Batches that a range or a table is fitted on."""


class Sign(BlackBox):
    """−1, 0 or 1 for each unit, of its distance to ``threshold``.

    Args:
        threshold: taken off first; the activity of a relu is never below 0.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        return (x - self.threshold).sign()


class Step(BlackBox):
    """1 for each unit above ``threshold``, else 0.

    Args:
        threshold: where the step is.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        return (x > self.threshold).to(x.dtype)


class Quantise(BlackBox):
    """The nearest of 2^``bits`` evenly spaced values between the least and the largest that fitting saw.

    Args:
        bits: number of bits.
    """

    low: Tensor
    high: Tensor

    def __init__(self, bits: Annotated[int, Field(ge=1, le=16)] = 4) -> None:
        super().__init__()
        if not 1 <= bits <= 16:
            raise ValueError(f"bits: {bits}: should be between 1 and 16")
        self.bits = bits
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(1.0))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Find the range of the first batches."""
        seen = [batch.aminmax() for batch in islice(batches, _FITTED_ON)]
        self.low.copy_(torch.stack([each.min for each in seen]).min())
        self.high.copy_(torch.stack([each.max for each in seen]).max())

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        low, width = self.low.to(x), (self.high - self.low).to(x).clamp_min(1e-12)
        place: Tensor = ((x - low) / width).clamp(0, 1)
        return rounded(place, self.bits) * width + low


class WinnerTakeAll(BlackBox):
    """1 for the ``winners`` largest of each group of ``group`` neighbouring units, else 0; ties: the first.

    Args:
        group: units of a group; it has to divide the units.
        winners: how many win.
    """

    examples = ({"group": 5, "winners": 2},)

    def __init__(self, group: Count = 10, winners: Count = 1) -> None:
        super().__init__()
        if not 0 < winners <= group:
            raise ValueError(f"winners: {winners}: should be between 1 and the {group} of a group")
        self.group, self.winners = group, winners

    def setup(self, context: Context) -> None:
        """See `ffcore.interfaces.BlackBox.setup`.

        Raises:
            ValueError: when groups do not divide the units.
        """
        units = torch.Size(context.shape).numel()
        if units % self.group:
            raise ValueError(f"group: {self.group} does not divide {units} units")

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        groups = x.reshape(len(x), -1, self.group)
        # a stable sort, so that of equal units the first one wins
        order = groups.sort(dim=2, descending=True, stable=True).indices[..., : self.winners]
        return torch.zeros_like(groups).scatter_(2, order, 1.0).view_as(x)


class LookUp(BlackBox):
    """The table's entry for the bin that each unit falls into: bins of equal width, or fitted to quantiles.

    Args:
        table: entries, from the lowest bin.
        edges: borders between the bins, one less than entries; None: quantiles of what fitting sees.
    """

    borders: Tensor
    entries: Tensor
    examples = ({"table": [0, 1, -1]}, {"table": [0, 2], "edges": [0.5]})

    def __init__(
        self, table: Annotated[Sequence[float], Field(min_length=2)], edges: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if len(table) < 2:
            raise ValueError("table: needs at least 2 entries")
        if edges is not None and (len(edges) != len(table) - 1 or list(edges) != sorted(edges)):
            raise ValueError(f"edges: should be {len(table) - 1} ascending numbers, one less than entries")
        even = torch.arange(1, len(table), dtype=torch.float32)
        self.given = edges is not None
        self.register_buffer("borders", torch.tensor(edges, dtype=torch.float32) if edges else even)
        self.register_buffer("entries", torch.tensor(table, dtype=torch.float32))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Put the borders at quantiles of the first batches, unless they were given."""
        if self.given:
            return
        values = torch.cat([batch.flatten().float() for batch in islice(batches, _FITTED_ON)])
        values = values[:: max(1, len(values) // 1_000_000)]  # as many as torch can sort for quantiles
        at = torch.arange(1, len(self.entries), dtype=values.dtype, device=values.device) / len(self.entries)
        self.borders.copy_(torch.quantile(values, at))

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        return self.entries.to(x)[torch.bucketize(x.contiguous(), self.borders.to(x))]


def rounded(place: Tensor, bits: int) -> Tensor:
    """The nearest of 2^``bits`` even values from 0 to 1."""
    steps: int = 2**bits - 1
    nearest = (place * steps).round()
    return nearest / steps
