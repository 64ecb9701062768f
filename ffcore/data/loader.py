"""Batches of a set that lies on the training device.

N samples in the split, B rows in a global batch, n rows of it on this rank.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcore.data.images import Split
from ffcore.errors import UserError
from ffcore.interfaces.batch import Batch


class DeviceLoader:
    """Batches of a set that lies as uint8 on the training device; no worker processes.

    The order derives from (seed, epoch()) alone, so a resumed run sees the order it would have seen.

    With several ranks each takes a contiguous share of every global batch: shares differ by at most one row,
    and concatenated by rank they are the batch that one rank would see. All ranks count the same batches, so
    a last batch of fewer rows than ranks leaves some rank with none: it gets a row of another one's as a
    stand-in that does not count (`Batch.counts`).

    Args:
        split: N samples.
        scale: what stored values are multiplied by.
        batch_size: B, over all ranks.
        device: where the set lies, from the first iteration on.
        shuffle: a new order each epoch, else the stored one.
        seed: of the order.
        rank: of this process, 0..world-1.
        world: how many processes share each batch.
        dtype: of the samples handed out.
        mean: subtracted after scaling, one per channel or one for all.
        std: divided by after that, likewise.

    Attributes:
        samples: N.
        epoch: returns the epoch that an iteration belongs to; the engine sets it to the trainer's.

    Raises:
        UserError: the batch size does not fit the ranks.
    """

    epoch: Callable[[], int]

    def __init__(
        self,
        split: Split,
        *,
        scale: float,
        batch_size: int,
        device: torch.device | str = "cpu",
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        dtype: torch.dtype = torch.float32,
        mean: Sequence[float] | float = 0.0,
        std: Sequence[float] | float = 1.0,
    ) -> None:
        stored = split.x.shape[1:]
        if batch_size < world:
            raise UserError(f"batch_size={batch_size}: must be at least the number of ranks, {world}")
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world = rank, world
        self.dtype = dtype
        self.epoch = lambda: 0
        self.samples = len(split)
        self._first = self._handed_out = 0
        self.device = torch.device(device)
        # from_numpy warns of arrays that cannot be written to
        self._x = torch.from_numpy(np.require(split.x, requirements=["C", "W"]))
        self._y = torch.from_numpy(np.require(split.y, requirements=["C", "W"]))
        # (x * scale - mean) / std = x * factor - offset
        per_channel = (-1, *[1] * (len(stored) - 1))
        inverse = 1 / torch.tensor(std, dtype=torch.float64).reshape(per_channel)
        # half precision would round the factor: compute in single and round the result
        self._compute = torch.promote_types(dtype, torch.float32)
        self._factor = (scale * inverse).to(self._compute)
        self._offset = (torch.tensor(mean, dtype=torch.float64).reshape(per_channel) * inverse).to(
            self._compute
        )
        self._scales, self._shifts = bool((self._factor != 1).any()), bool((self._offset != 0).any())

    def state_dict(self) -> dict[str, Any]:
        """Where the iteration stands, for a checkpoint within an epoch."""
        return {"batches": self._handed_out % len(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iteration there."""
        self._first = int(state["batches"])

    def in_order(self) -> DeviceLoader:
        """All samples, each of them once, in the stored order."""
        other = self.anew()
        other.shuffle = False
        return other

    def anew(self) -> DeviceLoader:
        """All samples, each of them once, in the epoch's order; an iteration under way is left alone."""
        other = copy.copy(self)
        other.rank, other.world = 0, 1
        other._first = 0
        return other

    def __len__(self) -> int:
        full, rest = divmod(len(self._y), self.batch_size)
        return full + (rest > 0)

    def __iter__(self) -> Iterator[Batch]:
        self._transfer()
        order = self._order().to(self.device)
        labels = self._y[order]
        begun, self._first = self._first, 0
        for number in range(begun, len(self)):
            start = number * self.batch_size
            self._handed_out = number + 1
            total = min(self.batch_size, len(order) - start)
            first, last = (total * r // self.world for r in (self.rank, self.rank + 1))
            counts = last > first
            mine = slice(start + first, start + (last if counts else first + 1))
            index = order[mine]
            yield Batch(self._gather(index), labels[mine], index, first, total, counts=counts)

    def _gather(self, index: Tensor) -> Tensor:
        # index_select makes a copy, so the stored samples are safe from what follows in place
        x = self._x.index_select(0, index).to(self._compute)
        if self._scales:
            x.mul_(self._factor)
        if self._shifts:
            x.sub_(self._offset)
        return x.to(self.dtype)

    def _order(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(len(self._y))
        # SeedSequence mixes well: neighbouring seeds and epochs have nothing in common
        mixed = np.random.SeedSequence([self.seed, self.epoch()]).generate_state(1, np.uint64)[0]
        return torch.randperm(len(self._y), generator=torch.Generator().manual_seed(int(mixed)))

    def _transfer(self) -> None:
        self._x, self._y, self._factor, self._offset = (
            t.to(self.device) for t in (self._x, self._y, self._factor, self._offset)
        )
