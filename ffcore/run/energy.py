"""Energy counters of this machine, in joules.

    gpu            NVML's total energy of a GPU, in mJ
    gpu, sampled   Σ_i (P_i + P_{i−1})/2 · (t_i − t_{i−1})
    cpu            Σ_d increments of RAPL domain d in µJ, each modulo the domain's range

P power of the GPU in mW; t seconds of a monotonic clock; d packages of processors and their memory (DRAM).
Every counter includes what other processes use on the same device.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import torch

from ffcore.errors import one_line, shortened

__all__ = ["Counter", "CounterError"]

POWERCAP = Path("/sys/class/powercap")
"""Where Linux has the RAPL domains."""

INTERVAL = 0.2
"""Seconds between two polls."""

LONGEST_GAP = 2.0
"""Seconds between two samples of power after which their mean says nothing: the machine was suspended."""


class CounterError(Exception):
    """A counter does not exist, or cannot be read."""


class Counter(ABC):
    """Energy of one device.

    A counter that gives less than before, or a non-finite number, is lost: its energy is not reported, and
    `ffcore.CostMeter.missing` says why.

    Example:
        >>> class Plug(Counter):  # a socket that counts watt-hours in a file
        ...     name, source = "plug", "the meter of the desk"
        ...     def joules(self):
        ...         try:
        ...             return 3600 * float(Path("/mnt/plug").read_text())
        ...         except ValueError as error:
        ...             raise CounterError(f"no number: {error}") from error

    Attributes:
        name: "gpu", "gpu, sampled" or "cpu".
        source: what is read, for people.
        remark: what to know about the numbers so far; empty for nothing.
    """

    name: str
    source: str
    remark: str = ""

    @abstractmethod
    def joules(self) -> float:
        """Return the energy since the counter was made, in J.

        Raises:
            CounterError: it cannot be read any more; the message is the reason. An OSError counts as one.
        """


class Rapl(Counter):
    """Energy of all processor packages and their memory, by Intel's and AMD's RAPL.

    Poll it more often than a domain wraps, about once in ten minutes.

    Args:
        root: directory of the domains.

    Raises:
        CounterError: there are no domains, or they cannot be read.
    """

    name = "cpu"

    def __init__(self, root: Path = POWERCAP) -> None:
        kinds: dict[str, dict[Path, str]] = {}
        for file in sorted(root.glob("*/name")):
            name = _text(file)
            if name == "dram" or name.startswith("package"):
                # a package may be listed twice: as intel-rapl:0 and as intel-rapl-mmio:0
                kinds.setdefault(file.parent.name.partition(":")[0], {})[file.parent] = name
        if not kinds:
            raise CounterError(f"no RAPL domain in {root}")
        found = kinds[min(kinds, key=len)]
        self._ranges = {domain: _number(domain / "max_energy_range_uj") for domain in found}
        self._last = {domain: _number(domain / "energy_uj") for domain in found}
        self._used = 0
        self.source = f"RAPL ({', '.join(found.values())})"

    def joules(self) -> float:
        """See `Counter.joules`."""
        for domain, before in self._last.items():
            now = _number(domain / "energy_uj")
            self._used += now - before if now >= before else now - before + self._ranges[domain]
            self._last[domain] = now
        return 1e-6 * self._used


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise CounterError(f"{file}: {reason}") from error


def _number(file: Path) -> int:
    text = _text(file)
    try:
        return int(text)
    except ValueError:
        raise CounterError(f"{file}: {text[:40]!r} is not a number") from None


class Gpu:
    """A GPU as NVML sees it. Without NVML's library or its Python module there is none.

    Args:
        device: a device of torch.

    Raises:
        CounterError: NVML does not know it.
    """

    def __init__(self, device: torch.device) -> None:
        try:
            import pynvml
        except ImportError:
            raise CounterError("NVML needs `pip install ffcore[energy]`") from None
        self._nvml: Any = pynvml
        self._handle = self.asked(self._found, device)
        self.name = str(self.asked(pynvml.nvmlDeviceGetName, self._handle))

    def _found(self, device: torch.device) -> Any:
        self._nvml.nvmlInit()
        # by its identifier: NVML does not know CUDA_VISIBLE_DEVICES
        return self._nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")

    def asked(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return a function's result.

        Raises:
            CounterError: instead of an error of NVML.
        """
        try:
            return function(*args)
        except self._nvml.NVMLError as error:
            raise CounterError(f"NVML: {error}") from error

    def energy(self) -> int:
        """Return the energy since the driver was loaded, in mJ."""
        return int(self.asked(self._nvml.nvmlDeviceGetTotalEnergyConsumption, self._handle))

    def power(self) -> int:
        """Return the power now, in mW."""
        return int(self.asked(self._nvml.nvmlDeviceGetPowerUsage, self._handle))


class TotalEnergy(Counter):
    """NVML's counter of a GPU's energy (Volta and later).

    Args:
        gpu: the GPU.

    Raises:
        CounterError: this GPU has none.
    """

    name = "gpu"

    def __init__(self, gpu: Gpu) -> None:
        self._gpu, self._last, self._used = gpu, gpu.energy(), 0
        self.source = f"NVML total energy of {gpu.name}"

    def joules(self) -> float:
        """See `Counter.joules`. After the driver was loaded again the count continues."""
        now = self._gpu.energy()
        self._used += now - self._last if now >= self._last else now
        self._last = now
        return 1e-3 * self._used


class SampledPower(Counter):
    """The integral of a GPU's power, sampled at each poll; to compare with other people's meters.

    Args:
        gpu: the GPU.
        clock: seconds of a monotonic clock.

    Raises:
        CounterError: this GPU does not tell its power.
    """

    name = "gpu, sampled"

    def __init__(self, gpu: Gpu, clock: Callable[[], float] = time.monotonic) -> None:
        self._gpu, self._clock = gpu, clock
        self._last, self._when, self._used = gpu.power(), clock(), 0.0
        self._unseen = 0.0
        self.source = f"NVML power of {gpu.name}, {1 / INTERVAL:g} samples a second"

    def joules(self) -> float:
        """See `Counter.joules`."""
        now, when = self._gpu.power(), self._clock()
        if 0 <= when - self._when <= LONGEST_GAP:
            self._used += 1e-3 * (now + self._last) / 2 * (when - self._when)
        else:
            self._unseen += max(0.0, when - self._when)
            self.remark = f"{self._unseen:.0f} s without samples are left out"
        self._last, self._when = now, when
        return self._used


def counters_of(device: torch.device) -> tuple[list[Counter], dict[str, str]]:
    """Return the counters of a device and of the processors, and by name why others are missing."""
    made: list[Counter] = []
    missing: dict[str, str] = {}

    def add(name: str, make: Callable[[], Counter]) -> None:
        try:
            made.append(make())
        except CounterError as error:
            missing[name] = str(error)

    if device.type == "cuda":
        try:
            gpu = Gpu(device)
        except CounterError as error:
            missing["gpu"] = str(error)
        else:
            add("gpu", lambda: TotalEnergy(gpu))
            add("gpu, sampled", lambda: SampledPower(gpu))
    add("cpu", Rapl)
    return made, missing


class Polling:
    """Reads counters in a thread, since power has to be sampled and RAPL wraps.

    Args:
        counters: the counters.
        interval: seconds between two polls.

    Attributes:
        counters: those that can still be read.
        lost: why others cannot be read any more, by name.
    """

    def __init__(self, counters: Sequence[Counter], interval: float = INTERVAL) -> None:
        self.counters = list(counters)
        self.lost: dict[str, str] = {}
        self._last: dict[str, float] = {}
        self._interval = interval
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless there are no counters or it runs."""
        if self.counters and self._thread is None:
            self._ended.clear()
            self._thread = threading.Thread(target=self._poll, daemon=True, name="ffcore energy")
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def read(self) -> dict[str, float]:
        """Return the energy of each counter since it was made, in J."""
        with self._lock:
            made = {}
            for counter in list(self.counters):
                try:
                    made[counter.name] = self._read(counter)
                except (CounterError, OSError) as error:
                    self.counters.remove(counter)
                    self.lost[counter.name] = one_line(error)
            return made

    def _read(self, counter: Counter) -> float:
        joules, before = counter.joules(), self._last.get(counter.name)
        if not isinstance(joules, Real) or not math.isfinite(joules):
            raise CounterError(f"joules() returned {shortened(joules)}, which is not a finite number")
        if before is not None and joules < before:
            raise CounterError(f"joules() returned {joules!r} after {before!r}; it should never fall")
        self._last[counter.name] = joules
        return float(joules)

    def _poll(self) -> None:
        while not self._ended.wait(self._interval):
            self.read()
