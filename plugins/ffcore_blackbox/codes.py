"""Codes without a useful gradient: signs, steps, quantisation, winner-take-all, look-up tables.

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
"""Number of batches to which a range or a table is fitted."""


class Sign(BlackBox):
    """Sign of each unit minus a threshold: −1, 0 or 1.

    Args:
        threshold: subtracted first. Set it above 0 after a relu, whose activity is never negative.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        return (x - self.threshold).sign()


class Step(BlackBox):
    """Step function: 1 for each unit above a threshold, else 0.

    Args:
        threshold: the position of the step.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        return (x > self.threshold).to(x.dtype)


class Quantise(BlackBox):
    """Rounds to 2^bits evenly spaced values in the range of the fitted inputs.

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
        """Set the range to that of the first batches."""
        # Not the first batch alone: its range may be too small.
        seen = [batch.aminmax() for batch in islice(batches, _FITTED_ON)]
        self.low.copy_(torch.stack([each.min for each in seen]).min())
        self.high.copy_(torch.stack([each.max for each in seen]).max())

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        low, width = self.low.to(x), (self.high - self.low).to(x).clamp_min(1e-12)
        place: Tensor = ((x - low) / width).clamp(0, 1)
        return rounded(place, self.bits) * width + low


class WinnerTakeAll(BlackBox):
    """1 for the largest units of each group of neighbouring units, else 0.

    Of equal units the first wins.

    Args:
        group: number of units of a group; it has to divide the number of units.
        winners: number of units per group that become 1.
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
            ValueError: when the group size does not divide the number of units.
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
    """Look-up table: replaces each unit by the entry of its bin.

    Args:
        table: entries, from the lowest bin.
        edges: borders between the bins, one less than entries; None: quantiles of the fitted inputs.
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
        """Set the borders to quantiles of the first batches, unless they were given."""
        if self.given:
            return
        values = torch.cat([batch.flatten().float() for batch in islice(batches, _FITTED_ON)])
        values = values[:: max(1, len(values) // 1_000_000)]  # torch.quantile has a limit of 16 million
        at = torch.arange(1, len(self.entries), dtype=values.dtype, device=values.device) / len(self.entries)
        self.borders.copy_(torch.quantile(values, at))

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        return self.entries.to(x)[torch.bucketize(x.contiguous(), self.borders.to(x))]


def rounded(place: Tensor, bits: int) -> Tensor:
    """Round numbers in [0, 1] to the nearest of 2^``bits`` evenly spaced values."""
    steps: int = 2**bits - 1
    nearest = (place * steps).round()
    return nearest / steps
