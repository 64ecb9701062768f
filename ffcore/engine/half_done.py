"""What is half done within an epoch, and belongs into a checkpoint there: an epoch's sums, open groups."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class HalfDone:
    """One rank's.

    Attributes:
        meter: see `ffcore.engine.meter.Meter.state_dict`.
        steppers: by block; see `ffcore.local.Stepper.state_dict`.
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
        steppers = {name: _steppers([s.steppers[name] for s in states]) for name in first.steppers}
        buffers = {
            name: torch.stack([s.buffers[name] for s in states]).mean(0).to(value.dtype)
            for name, value in first.buffers.items()
        }
        return cls(meters([s.meter for s in states]), steppers, buffers)

    def emptied(self) -> HalfDone:
        """Nothing but the place in a group of batches, for a rank that has begun later."""
        steppers = {
            name: {**s, "samples": 0, "sums": [None] * len(s["sums"])} for name, s in self.steppers.items()
        }
        return HalfDone(self.only(()).meter, steppers, self.buffers)

    def only(self, names: Collection[str]) -> HalfDone:
        """Of those blocks."""
        meter = dict(self.meter)
        for part in ("sums", "samples", "pairs", "roles"):
            meter[part] = {name: value for name, value in meter[part].items() if name in names}
        steppers = {name: s for name, s in self.steppers.items() if name in names}
        return HalfDone(meter, steppers, self.buffers)


def meters(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of all ranks' meters."""
    finite = [state["finite"] for state in states if state["finite"] is not None]
    return {
        "sums": _joined([s["sums"] for s in states], lambda a, b: _joined([a, b], torch.add)),
        "samples": _joined([s["samples"] for s in states], int.__add__),
        "pairs": _joined([s["pairs"] for s in states], int.__add__),
        "roles": _joined([s["roles"] for s in states], lambda a, b: a),
        "steps": states[0]["steps"],
        "finite": torch.stack(finite).amin(0) if finite else None,
    }


def _steppers(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    parts = [dict(enumerate(state["sums"])) for state in states]
    gathered = [{i: t for i, t in part.items() if t is not None} for part in parts]
    sums = _joined(gathered, torch.add)
    return {
        "samples": sum(state["samples"] for state in states),
        "updates": max(state["updates"] for state in states),
        "batches": max(state["batches"] for state in states),
        "sums": [sums.get(i) for i in parts[0]],
    }


def _joined(parts: Sequence[Mapping[Any, Any]], add: Callable[[Any, Any], Any]) -> dict[Any, Any]:
    """All entries; those of the same key are added."""
    joined: dict[Any, Any] = {}
    for part in parts:
        for key, value in part.items():
            joined[key] = add(joined[key], value) if key in joined else value
    return joined
