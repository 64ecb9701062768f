"""The checks, by noun: functions ``check_<noun>_<behaviour>(example)``.

Checks of "entry" apply to every registration, those of "module" to every component that is an `nn.Module`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ffcore.testing.checks import (
    algorithms,
    blackboxes,
    circuits,
    datasets,
    entries,
    evidence,
    goodness,
    inputs,
    layers,
    losses,
    modules,
    networks,
    rules,
    schedules,
    tasks,
)
from ffcore.testing.example import Example

_MODULES = (
    algorithms,
    blackboxes,
    circuits,
    datasets,
    entries,
    evidence,
    goodness,
    inputs,
    layers,
    losses,
    modules,
    networks,
    rules,
    schedules,
    tasks,
)


@cache
def named(noun: str) -> dict[str, Callable[[Example], None]]:
    """Return the checks of a noun by name: ``check_goodness_one_number_a_row`` is "one number a row"."""
    start = f"check_{noun}_"
    return {
        name.removeprefix(start).replace("_", " "): function
        for module in _MODULES
        for name, function in vars(module).items()
        if name.startswith(start)
    }
