"""`DeviceLoader`: makes the batches of a data set that is stored on the training device.

Inputs are (x · scale − mean) / std. N samples in the split, B samples in a global batch, n of them on a rank.
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
from ffcore.interfaces.structure import mapped


class DeviceLoader:
    """Makes batches of a data set that is stored, for example as uint8, on the device; no worker processes.

    The order derives from (seed, epoch()) alone, so that a resumed run has the same order.

    With several ranks, each gets a contiguous share of every global batch. Shares differ by at most one
    sample, and concatenated by rank they are the global batch. All ranks have the same number of batches: if
    the last batch has fewer samples than ranks, a rank without a sample gets one of another rank as a
    placeholder (`Batch.counts` is False).

    Args:
        split: N samples.
        scale: factor of stored values.
        batch_size: B, over all ranks.
        device: device of the data set, from the first iteration on.
        shuffle: a new order each epoch; otherwise the stored order.
        seed: seed of the order.
        rank: rank of this process, 0..world-1.
        world: number of processes that share each batch.
        dtype: type of the returned samples.
        mean: subtracted after scaling; one value per channel, or one for all.
        std: divides the result; one value per channel, or one for all.

    Attributes:
        samples: N.
        epoch: returns the current epoch; the engine sets it to that of the trainer.

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
        if batch_size < world:
            raise UserError(f"batch_size={batch_size}: must be at least the number of ranks, {world}")
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world = rank, world
        self.dtype = dtype
        self.epoch = lambda: 0
        self.samples = len(split)
        self._first = self._returned = 0
        self.device = torch.device(device)
        self._x = mapped(split.x, _tensor)
        self._y = _tensor(split.y)
        # (x * scale - mean) / std = x * factor - offset
        per_channel = (-1, *[1] * (split.x.ndim - 2)) if isinstance(split.x, np.ndarray) else ()
        inverse = 1 / torch.tensor(std, dtype=torch.float64).reshape(per_channel)
        # half precision would round the factor: compute in float32 and round the result
        self._compute = torch.promote_types(dtype, torch.float32)
        self._factor = (scale * inverse).to(self._compute)
        self._offset = (torch.tensor(mean, dtype=torch.float64).reshape(per_channel) * inverse).to(
            self._compute
        )
        # Most data sets need only one of the two operations: skip the other.
        self._scales, self._shifts = bool((self._factor != 1).any()), bool((self._offset != 0).any())

    def state_dict(self) -> dict[str, Any]:
        """Returns the position of the iteration, for a checkpoint within an epoch."""
        return {"batches": self._returned % len(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the position at which the next iteration begins."""
        self._first = int(state["batches"])

    def in_order(self) -> DeviceLoader:
        """Returns a loader of all samples, each once, in the stored order."""
        other = self.anew()
        other.shuffle = False
        return other

    def anew(self) -> DeviceLoader:
        """Returns a loader of all samples, each once, in the epoch's order. Does not change this loader."""
        other = copy.copy(self)
        other.rank, other.world = 0, 1
        other._first = 0
        return other

    def __len__(self) -> int:
        full, rest = divmod(len(self._y), self.batch_size)
        return full + (rest > 0)

    def __iter__(self) -> Iterator[Batch]:
        self._transfer()
        order = self._order().to(self.device)  # once per epoch: no transfer per batch
        labels = self._y[order]
        # The position of a checkpoint is used once: the next epoch begins at its first batch.
        begin, self._first = self._first, 0
        for number in range(begin, len(self)):
            start = number * self.batch_size
            self._returned = number + 1
            total = min(self.batch_size, len(order) - start)
            first, last = (total * r // self.world for r in (self.rank, self.rank + 1))
            counts = last > first
            own = slice(start + first, start + (last if counts else first + 1))
            index = order[own]
            yield Batch(self._rows(index), labels[own], index, first, total, counts=counts)

    def _rows(self, index: Tensor) -> Any:
        if isinstance(self._x, Tensor) and self._x.dtype != torch.int64:
            return self._gather(index)
        # of several inputs and of tokens nothing is scaled; floats get the precision of the run
        return mapped(self._x, lambda each: self._unscaled(each.index_select(0, index)))

    def _unscaled(self, x: Tensor) -> Tensor:
        return x.to(self.dtype) if x.is_floating_point() else x

    def _gather(self, index: Tensor) -> Tensor:
        # index_select copies, so that the operations in place do not change the stored samples
        x: Tensor = self._x.index_select(0, index).to(self._compute)
        if self._scales:
            x.mul_(self._factor)
        if self._shifts:
            x.sub_(self._offset)
        return x.to(self.dtype)

    def _order(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(len(self._y))
        # SeedSequence mixes seed and epoch: a sum of them would repeat orders between seeds
        mixed = np.random.SeedSequence([self.seed, self.epoch()]).generate_state(1, np.uint64)[0]
        return torch.randperm(len(self._y), generator=torch.Generator().manual_seed(int(mixed)))

    def _transfer(self) -> None:
        self._x = mapped(self._x, lambda t: t.to(self.device))
        self._y, self._factor, self._offset = (
            t.to(self.device) for t in (self._y, self._factor, self._offset)
        )


def _tensor(array: np.ndarray) -> Tensor:
    # "W" copies a read-only array: torch.from_numpy warns about it
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
