"""The checks, by noun: functions ``check_<noun>_<behaviour>(example)``.

Those of "entry" are for everything that is registered, those of "module" for all that learn or compute.
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
)
from ffcore.testing.example import Example

_ROOMS = (
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
)


@cache
def named(noun: str) -> dict[str, Callable[[Example], None]]:
    """The checks of a noun by name: ``check_goodness_one_number_a_row`` is "one number a row"."""
    start = f"check_{noun}_"
    return {
        name.removeprefix(start).replace("_", " "): function
        for room in _ROOMS
        for name, function in vars(room).items()
        if name.startswith(start)
    }
