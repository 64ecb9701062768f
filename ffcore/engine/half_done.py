"""What is half done within an epoch, and belongs into a checkpoint there: an epoch's sums, open groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ffcore.engine.meter import Meter
from ffcore.local import BlockOptimizer


@dataclass(frozen=True)
class HalfDone:
    """One rank's.

    Attributes:
        meter: see `ffcore.engine.meter.Meter.state_dict`.
        steppers: by block; see `ffcore.local.BlockOptimizer.state_dict`.
        buffers: those that ranks may have different values of, by name; empty on a single rank.
    """

    meter: Mapping[str, Any]
    steppers: Mapping[str, Mapping[str, Any]]
    buffers: Mapping[str, Tensor]

    def plain(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    @classmethod
    def merged(cls, states: Sequence[HalfDone]) -> HalfDone:
        """What one rank in place of all of them would have; of buffers, the mean."""
        first = states[0]
        steppers = {
            name: BlockOptimizer.merged([s.steppers[name] for s in states]) for name in first.steppers
        }
        buffers = {
            name: torch.stack([s.buffers[name] for s in states]).mean(0).to(value.dtype)
            for name, value in first.buffers.items()
        }
        return cls(Meter.merged([s.meter for s in states]), steppers, buffers)

    def emptied(self) -> HalfDone:
        """Nothing but the place in a group of batches, for a rank that has begun later."""
        steppers = {name: BlockOptimizer.emptied(s) for name, s in self.steppers.items()}
        return HalfDone(Meter.only(self.meter, ()), steppers, self.buffers)

    def only(self, names: Collection[str]) -> HalfDone:
        """Of those blocks."""
        steppers = {name: s for name, s in self.steppers.items() if name in names}
        return HalfDone(Meter.only(self.meter, names), steppers, self.buffers)
