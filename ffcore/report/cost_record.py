"""What a run has cost, as ``costs`` in ``results.json``. Does not import torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from ffcore.report.keyed import Record
from ffcore.report.values import Huge, Real, Seconds, Whole


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Phase(Record):
    """What a phase of a run has cost; see `ffcore.CostMeter`.

    Attributes:
        seconds: time of the first rank.
        cpu_seconds: time that processors have worked, over all threads and ranks; None if it is not known.
        samples: number of samples.
        multiplications: of matrix products and convolutions; None if they could not be counted.
        joules: energy in J by counter.
        peak_memory: bytes allocated on a GPU; None on a CPU.
    """

    seconds: Seconds
    samples: Whole = 0
    multiplications: Huge | None = None
    joules: Mapping[str, Real] = dataclasses.field(default_factory=dict)
    peak_memory: Whole | None = None
    cpu_seconds: Seconds | None = None


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Costs(Record):
    """What the phases of a run have cost.

    Attributes:
        phases: by name: "learning", "validation", "test", "other".
        counters: what each energy counter reads.
        missing: why other counters could not be read.
    """

    phases: Mapping[str, Phase]
    counters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    missing: Mapping[str, str] = dataclasses.field(default_factory=dict)
