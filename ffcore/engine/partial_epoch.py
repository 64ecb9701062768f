"""A partial epoch in a checkpoint: its sums, open groups of batches, running statistics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ffcore.engine.meter import Meter
from ffcore.local import BlockOptimizer

KEY = "partial_epoch"
"""Under which it stands in a checkpoint."""


@dataclass(frozen=True)
class PartialEpoch:
    """One rank's.

    Attributes:
        meter: see `ffcore.engine.meter.Meter.state_dict`.
        optimizers: by block; see `ffcore.local.BlockOptimizer.state_dict`.
        buffers: those that ranks may have different values of, by name; empty on a single rank.
    """

    meter: Mapping[str, Any]
    optimizers: Mapping[str, Mapping[str, Any]]
    buffers: Mapping[str, Tensor]

    def plain(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    @classmethod
    def merged(cls, states: Sequence[PartialEpoch]) -> PartialEpoch:
        """What one rank in place of all of them would have; of buffers, the mean."""
        first = states[0]
        optimizers = {
            name: BlockOptimizer.merged([s.optimizers[name] for s in states]) for name in first.optimizers
        }
        buffers = {
            name: torch.stack([s.buffers[name] for s in states]).mean(0).to(value.dtype)
            for name, value in first.buffers.items()
        }
        return cls(Meter.merged([s.meter for s in states]), optimizers, buffers)

    def emptied(self) -> PartialEpoch:
        """Nothing but the place in a group of batches, for a rank that has begun later."""
        optimizers = {name: BlockOptimizer.emptied(s) for name, s in self.optimizers.items()}
        return PartialEpoch(Meter.only(self.meter, ()), optimizers, self.buffers)

    def only(self, names: Collection[str]) -> PartialEpoch:
        """Of those blocks."""
        optimizers = {name: s for name, s in self.optimizers.items() if name in names}
        return PartialEpoch(Meter.only(self.meter, names), optimizers, self.buffers)


def read(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint keeps under `KEY`, also one of an older format."""
    if KEY in checkpoint:
        return dict(checkpoint[KEY])
    # formats 1 and 2 have it under "half_done", with "steppers" for "optimizers"
    found = dict(checkpoint["half_done"])
    if "ranks" not in found:  # format 1: batches were not counted apart from updates
        steppers = {name: {**s, "batches": s["updates"]} for name, s in found["steppers"].items()}
        found["ranks"] = [{"meter": found["meter"], "steppers": steppers, "buffers": {}}]
    ranks = [
        {"optimizers" if key == "steppers" else key: value for key, value in each.items()}
        for each in found["ranks"]
    ]
    return {**found, "ranks": ranks}
