"""What a run has cost: time, multiplications, energy and memory by phase. See `ffcore.CostMeter`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ffcore.report.record import RunRecord
from ffcore.report.section import Section
from ffcore.report.text import NOTHING, count, duration, literal, markdown_table, memory, short

PHASES = ("learning", "validation", "test", "other")

ABOUT = (
    "Other: pictures' data, checkpoints and pauses between phases, from the first epoch on. "
    "CPU time: of all threads of the run's processes, without child processes such as those of loaders. "
    "Multiplications: those of matrix products and convolutions, from counted steps in which the same blocks "
    "learn, with those of filling a cache; a dash: they could not be counted. Energy includes what other "
    "processes use on the same device."
)


def spent(run: RunRecord) -> Section | None:
    """Returns the section with the costs of each phase; None for runs that have not measured them."""
    costs = run.get("costs")
    if not costs:
        return None
    phases = {name: costs["phases"][name] for name in PHASES if name in costs["phases"]}
    counters = list(costs["counters"])
    on_gpu = any(phase.get("peak_memory") for phase in phases.values())
    energies_of = [f"energy, {name}" for name in counters]
    columns = ["", "time", "CPU time", "samples", "multiplications", *energies_of]
    rows = [
        [
            name,
            duration(phase["seconds"]),
            NOTHING if phase.get("cpu_seconds") is None else duration(phase["cpu_seconds"]),
            count(phase["samples"] or None),
            short(phase["multiplications"]),
            *(energy(phase["joules"].get(counter)) for counter in counters),
            *([memory(phase["peak_memory"])] if on_gpu else []),
        ]
        for name, phase in phases.items()
    ]
    read = [f"Energy, {name}: {literal(source)}." for name, source in costs["counters"].items()]
    unread = [f"Energy, {name}: not reported ({literal(why)})." for name, why in costs["missing"].items()]
    table = markdown_table([*columns, *(["peak memory"] if on_gpu else [])], rows)
    return Section("What the run has cost", "\n\n".join([table, ABOUT, *read, *unread]))


def energy(joules: float | None) -> str:
    """Returns an energy in watt hours, three digits.

    >>> energy(3600), energy(12.0), energy(None)
    ('1.00 Wh', '0.00333 Wh', '–')
    """
    if joules is None:
        return NOTHING
    return f"{joules / 3600:#.3g}".rstrip(".") + " Wh"


def energies(costs: Mapping[str, Any] | None) -> dict[str, float]:
    """Returns the energy of all phases in J by counter; empty if there is none."""
    total: dict[str, float] = {}
    for phase in (costs or {}).get("phases", {}).values():
        for name, joules in phase["joules"].items():
            total[name] = total.get(name, 0.0) + joules
    return total


def comparable(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the counters by which the energy of several runs can be compared.

    That of the processors if all runs with any counter have it, and one of the GPUs that all runs on GPUs
    have: sampled power where one lacks the counter of the total energy.
    """
    learned = [each for run in results if (each := _learning(run.get("costs"))).get("joules")]
    on_gpu = [each for each in learned if each.get("peak_memory") is not None]

    def common(name: str, of: Sequence[Mapping[str, Any]]) -> list[str]:
        return [name] if of and all(name in each["joules"] for each in of) else []

    gpu = common("gpu", on_gpu) or common("gpu, sampled", on_gpu)
    return [*gpu, *common("cpu", learned)]


def used(costs: Mapping[str, Any] | None, counters: Sequence[str]) -> float | None:
    """Returns the energy of learning in J by these counters; None without those of the devices it used."""
    learning = _learning(costs)
    joules = learning.get("joules") or {}
    on_gpu, known = learning.get("peak_memory") is not None, [name for name in counters if name in joules]
    if not known or on_gpu != any(name.startswith("gpu") for name in known):
        return None
    return float(sum(joules[name] for name in known))


def multiplications(costs: Mapping[str, Any] | None) -> int | None:
    """Returns the multiplications of learning; None if they are not known."""
    made = _learning(costs).get("multiplications")
    return None if made is None else int(made)


def _learning(costs: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return (costs or {}).get("phases", {}).get("learning") or {}
