"""The partial epoch state in a checkpoint: sums, incomplete groups of batches, running statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ffcore.engine.meter import Meter
from ffcore.local import BlockOptimizer

KEY = "partial_epoch"
"""Key of the state in a checkpoint."""


@dataclass(frozen=True)
class PartialEpoch:
    """The partial epoch state of one rank.

    Attributes:
        meter: see `ffcore.engine.meter.Meter.state_dict`.
        optimizers: by block; see `ffcore.local.BlockOptimizer.state_dict`.
        buffers: the buffers that may differ between ranks, by name; empty on a single rank.
    """

    meter: Mapping[str, Any]
    optimizers: Mapping[str, Mapping[str, Any]]
    buffers: Mapping[str, Tensor]

    def plain(self) -> dict[str, Any]:
        """Return the state as a dict for a checkpoint."""
        return asdict(self)

    @classmethod
    def merged(cls, states: Sequence[PartialEpoch]) -> PartialEpoch:
        """Return the state that one rank has in place of several; of buffers, the mean."""
        first = states[0]
        optimizers = {
            name: BlockOptimizer.merged([s.optimizers[name] for s in states]) for name in first.optimizers
        }
        named: dict[str, list[Tensor]] = {}  # the ranks of a replica have different buffers
        for state in states:
            for name, value in state.buffers.items():
                named.setdefault(name, []).append(value)
        buffers = {name: torch.stack(of).mean(0).to(of[0].dtype) for name, of in named.items()}
        return cls(Meter.merged([s.meter for s in states]), optimizers, buffers)

    def emptied(self) -> PartialEpoch:
        """Return only the position in the group of batches, for a rank that is new in a resumed run."""
        optimizers = {name: BlockOptimizer.emptied(s) for name, s in self.optimizers.items()}
        return PartialEpoch(Meter.only(self.meter, ()), optimizers, self.buffers)

    def only(self, owns: Callable[[str], bool]) -> PartialEpoch:
        """Return the state of those blocks only for whose names ``owns`` is true."""
        of_meter = (self.meter[part] for part in ("sums", "samples", "pairs", "roles"))
        names = {name for part in (self.optimizers, *of_meter) for name in part if owns(name)}
        optimizers = {name: s for name, s in self.optimizers.items() if name in names}
        return PartialEpoch(Meter.only(self.meter, names), optimizers, self.buffers)


def read(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state under `KEY` of a checkpoint, also of an older format."""
    if KEY in checkpoint:
        state = dict(checkpoint[KEY])
        # before there were grids: whether batches were shared, by all ranks or by none
        return {"replicas": len(state["ranks"]) if state.get("shared", True) else 1, **state}
    # formats 1 and 2 use the key "half_done", and "steppers" for "optimizers"
    state = dict(checkpoint["half_done"])
    if "ranks" not in state:  # format 1 did not count batches separately from updates
        steppers = {name: {**s, "batches": s["updates"]} for name, s in state["steppers"].items()}
        state["ranks"] = [{"meter": state["meter"], "steppers": steppers, "buffers": {}}]
    ranks = [
        {"optimizers" if key == "steppers" else key: value for key, value in each.items()}
        for each in state["ranks"]
    ]
    return {**state, "ranks": ranks, "replicas": len(ranks)}
