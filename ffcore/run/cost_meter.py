"""Time, energy and memory of the phases of a program.

A program is in one phase at a time. What a phase costs is the sum over the times in which it was the
current one:

    Δt of a monotonic clock;  Δ of the CPU time of this process;  ΔE of every energy counter;
    peak of allocated memory, on a GPU
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Any

import torch

from ffcore.errors import UserError, expect, expect_count, shortened
from ffcore.run.energy import Counter, Polling, counters_of

__all__ = ["CostMeter", "Spent"]

OTHER = "other"
"""The phase of everything that has no other."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a phase has cost.

    Attributes:
        seconds: time.
        samples: number of samples, where they were counted.
        joules: energy in J by counter: "gpu" is NVML's counter, "gpu, sampled" the integral of sampled
            power, "cpu" that of all processors and their memory. Without a counter there is no entry.
        peak_memory: bytes that torch's allocator had given out at most, on a GPU; None on a CPU.
        cpu_seconds: time that processors have worked for this process, summed over its threads. Waiting adds
            nothing, so that other programs disturb it less than ``seconds``. Without child processes, such as
            those of loaders and of boxes. None if only a part of it is known.
    """

    seconds: float = 0.0
    samples: int = 0
    joules: Mapping[str, float] = field(default_factory=dict)
    peak_memory: int | None = None
    cpu_seconds: float | None = 0.0

    def plus(self, other: Spent) -> Spent:
        """Return the sum of both, with the larger peak."""
        cpu = [each.cpu_seconds for each in (self, other) if each.cpu_seconds is not None]
        names = dict.fromkeys([*self.joules, *other.joules])
        peaks = [peak for peak in (self.peak_memory, other.peak_memory) if peak is not None]
        return Spent(
            self.seconds + other.seconds,
            self.samples + other.samples,
            {name: self.joules.get(name, 0.0) + other.joules.get(name, 0.0) for name in names},
            max(peaks, default=None),
            sum(cpu) if len(cpu) == 2 else None,
        )


class CostMeter:
    """Measures time, energy and memory of the phases of a training loop.

    Energy comes from NVML on NVIDIA GPUs and from RAPL on CPUs where these can be read; otherwise it is not
    reported, and `missing` says why. Counters include what other processes use on the same device.

    >>> import ffcore
    >>> with ffcore.CostMeter() as meter:
    ...     with meter.phase("learning", samples=1000):
    ...         total = sum(range(1000))
    ...     with meter.phase("validation"):
    ...         total += 1
    >>> list(meter.phases), meter.phases["learning"].samples
    (['other', 'learning', 'validation'], 1000)

    Args:
        device: the device that computes. The program waits for a GPU whenever the phase changes.
        counters: energy counters, each like `ffcore.run.energy.Counter`; None for those of the device and of
            the processors.
        missing: why other counters are missing, by name.

    Attributes:
        phases: what each phase has cost so far, up to the last change of the phase; "other" is the time
            outside of all phases.
        missing: why a counter is missing or was lost, by name.

    Raises:
        UserError: the device is not one of torch, or a GPU that torch does not find; or a counter has no
            name, source or ``joules()``, or the name of another one.
    """

    def __init__(
        self,
        device: str | torch.device = "cpu",
        counters: Sequence[Counter] | None = None,
        missing: Mapping[str, str] | None = None,
    ) -> None:
        self.device = _device(device)
        found, unknown = counters_of(self.device) if counters is None else (counters, {})
        _refuse_counters(found)
        self.phases: dict[str, Spent] = {}
        self._sources = {counter.name: counter for counter in found}
        self._missing = {**unknown, **(missing or {})}
        self._polling = Polling(found)
        self._now, self._samples = OTHER, 0
        self._start()

    def __enter__(self) -> CostMeter:
        """Begin to measure."""
        self._polling.start()
        self._peak()  # that of the program before
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Add what was spent since the last change, and end the polls of the counters."""
        self.enter(OTHER)
        self.close()

    def close(self) -> None:
        """End the polls of the counters."""
        self._polling.stop()

    def __repr__(self) -> str:
        """Return a line for each phase."""
        lines = []
        for name, spent in self.phases.items():
            energy = ", ".join(f"{joules:.1f} J ({counter})" for counter, joules in spent.joules.items())
            samples = f", {spent.samples} samples" if spent.samples else ""
            cpu = "" if spent.cpu_seconds is None else f" ({spent.cpu_seconds:.2f} s of CPU time)"
            lines.append(f"{name}: {spent.seconds:.2f} s{cpu}{samples}{', ' if energy else ''}{energy}")
        lines += [f"energy, {name}: not reported ({why})" for name, why in self.missing.items()]
        return "\n".join(lines)

    @property
    def missing(self) -> dict[str, str]:
        """See above."""
        return {**self._missing, **self._polling.lost}

    @property
    def sources(self) -> dict[str, str]:
        """What each counter reads, with remarks; without those that were lost."""
        remarks = {name: getattr(counter, "remark", "") for name, counter in self._sources.items()}
        return {
            name: f"{counter.source}{f' ({remarks[name]})' if remarks[name] else ''}"
            for name, counter in self._sources.items()
            if name not in self.missing
        }

    @contextmanager
    def phase(self, name: str, samples: int = 0) -> Iterator[None]:
        """Count what is spent within the context to a phase. Inner phases do not count to outer ones.

        Args:
            name: the name of the phase.
            samples: number of samples that are processed in it.

        Raises:
            UserError: the samples are not an integer from 0.
        """
        expect_count("CostMeter: samples", samples, 0)
        outer = self._now
        self.enter(name)
        try:
            yield
        finally:
            self.count(samples)
            self.enter(outer)

    def enter(self, name: str) -> None:
        """Count what is spent from now on to the phase ``name``."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        began, cpu, before = self._began, self._cpu, self._read
        self._start()
        joules = {of: self._read[of] - joules for of, joules in before.items() if of in self._read}
        self._add(Spent(self._began - began, self._samples, joules, self._peak(), self._cpu - cpu))
        self._samples = 0
        for lost in self._polling.lost:  # a part of its energy would be taken for the whole
            for phase, spent in self.phases.items():
                self.phases[phase] = replace(
                    spent, joules={of: j for of, j in spent.joules.items() if of != lost}
                )
        self._now = name

    def _start(self) -> None:
        """Read the clocks and the counters."""
        self._began, self._cpu, self._read = time.perf_counter(), time.process_time(), self._polling.read()

    def count(self, samples: int) -> None:
        """Add samples to the current phase; `phases` has them after the next change of the phase.

        Raises:
            UserError: the samples are not an integer from 0.
        """
        expect_count("CostMeter: samples", samples, 0)
        self._samples += samples

    def _add(self, spent: Spent) -> None:
        self.phases[self._now] = self.phases.get(self._now, Spent()).plus(spent)

    def _peak(self) -> int | None:
        if self.device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        return peak

    @property
    def current(self) -> str:
        """The name of the current phase."""
        return self._now

    def state_dict(self) -> dict[str, Any]:
        """Return what every phase has cost, for a checkpoint."""
        self.enter(self._now)
        return {name: asdict(spent) for name, spent in self.phases.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Add what the phases have cost before a run was stopped.

        A counter that was read in only one part of the run is missing: a part would be taken for the whole.
        """
        before = {counter for spent in state.values() for counter in spent["joules"]}
        for counter in before ^ self._sources.keys() if state else ():
            self._missing.setdefault(counter, "read in a part of the run only")
        for name, spent in state.items():
            known = Spent(**{"cpu_seconds": None, **spent})  # versions up to 0.1 did not measure it
            self.phases[name] = known.plus(self.phases.get(name, Spent()))


def _device(given: str | torch.device) -> torch.device:
    """Return a device of torch; see `CostMeter`."""
    try:
        device = torch.device(given)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"CostMeter: device: {shortened(given)} should be cpu, cuda, or cuda:1") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"CostMeter: device: {str(given)!r}, but torch finds no GPU")
    return device


def _refuse_counters(counters: Sequence[Counter]) -> None:
    """Raise if these are no energy counters; see `CostMeter`."""
    expect("CostMeter: counters", counters, Sequence, "a list of energy counters")
    for i, counter in enumerate(counters):
        for wanted in ("name", "source"):
            found = getattr(counter, wanted, None)
            expect(f"CostMeter: counters[{i}].{wanted}", found, str, "a text")
        if not callable(getattr(counter, "joules", None)):
            raise UserError(f"CostMeter: counters[{i}]: {counter.name!r} should have a method joules()")
        if any(counter.name == other.name for other in counters[:i]):
            raise UserError(f"CostMeter: counters[{i}]: another counter is called {counter.name!r} already")
