"""Types for the arguments of components: ranges, and components given by their kind.

The constructor is the only declaration of a component's options. Its annotations are the types that recipes
are checked against, and its docstring describes each option:

    def __init__(self, units: Count, leak: BelowOne = 0.3, labels: LabelCode | ByName = "overlay") -> None:

For other ranges use pydantic's ``Field``: ``Annotated[int, Field(ge=1, le=16)]``. Imports no torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

__all__ = [
    "BelowOne",
    "ByName",
    "Count",
    "FilePath",
    "Fraction",
    "FunctionTarget",
    "Natural",
    "NonNegative",
    "Number",
    "Part",
    "Positive",
    "Seconds",
    "Seed",
    "Size",
    "Threads",
    "expanded",
]

ByName = str | Mapping[str, Any]
"""A component by its kind, ``"overlay"``, or by its kind and options, ``{"kind": "overlay", "strength": 2}``.

Use it in a union with the contract class: ``labels: LabelCode | ByName``. `ffcore.parts.part` makes the
component.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Marks an argument as a component if its class does not: a handoff may be any module.

    ``after: Annotated[nn.Module, Part("handoff")]``

    Args:
        noun: the type of component.
    """

    noun: str


@dataclass(frozen=True, slots=True)
class FunctionTarget:
    """Marks an argument as a function: ``module:function`` in a recipe, or the function itself in Python.

    ``target: Annotated[Any, FunctionTarget()]``
    """


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


NotBool = BeforeValidator(_no_bool)
"""Refuses booleans: pydantic would read ``true`` as 1, which is a mistake in a recipe."""

MOST = 10**9
"""Maximum of a count. It fits into 32 bits."""

LARGEST = 1e30
"""Maximum absolute value of a number. It fits into float32, with room for a sum."""

FLOAT32 = 3.4028235e38
"""The largest number of float32, rounded up; defaults such as ``torch.finfo(torch.float32).max`` fit."""

DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,4})?")
"""Names of devices; see `DEVICES`."""

DEVICES = "auto, cpu, cuda, or a GPU by its number such as cuda:1"
"""The names of devices, for messages."""

MOST_SEED = 2**63 - 1
"""Maximum seed of torch's generators."""

# Field comes first: pydantic writes its range into the JSON schema only where it follows the type
Count = Annotated[int, Field(ge=1, le=MOST), NotBool]
"""1, 2, 3, … 10⁹"""

Natural = Annotated[int, Field(ge=0, le=MOST), NotBool]
"""0, 1, 2, … 10⁹"""

Size = Annotated[int, Field(ge=1, le=10**6), NotBool]
"""Size of a layer or a window: units, channels, side of a kernel; 1 … 10⁶."""

Seed = Annotated[int, Field(ge=0, le=MOST_SEED), NotBool]
"""Seed of random numbers, 0 … 2⁶³ − 1."""

Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST), NotBool]
"""Any finite number up to ±10³⁰."""

NonNegative = Annotated[float, Field(ge=0, le=LARGEST), NotBool]
"""A number ≥ 0."""

Positive = Annotated[float, Field(gt=0, le=LARGEST), NotBool]
"""A number > 0."""

Fraction = Annotated[float, Field(ge=0, le=1), NotBool]
"""A number in [0, 1]."""

BelowOne = Annotated[float, Field(ge=0, lt=1), NotBool]
"""A number in [0, 1)."""

Seconds = Annotated[float, Field(gt=0, le=1e7), NotBool]
"""A time in seconds, at most 115 days."""

Threads = Annotated[int, Field(ge=1, le=1024), NotBool]
"""Number of threads of this process."""


def expanded(path: str) -> str:
    """Returns a path with ``~`` replaced by the home directory; unchanged if there is no such user.

    >>> expanded("data/x.npz")
    'data/x.npz'
    """
    return os.path.expanduser(path)


def possible(path: str) -> str:
    """Returns an expanded path, if a file of this name could exist.

    Raises:
        ValueError: a file system has no file of such a name.
    """
    names = path.encode(errors="replace").split(b"/")
    if not path or "\0" in path or max(map(len, names)) > 255 or len(path) > 4000:
        raise ValueError("should be a path; a name in it has at most 255 bytes")
    result = expanded(path)
    if result.startswith("~") and not os.path.lexists(result):
        user = result.partition("/")[0]
        raise ValueError(f"there is no user {user[1:]!r}; write ./{user} for a file of that name")
    return result


FilePath = Annotated[str, AfterValidator(possible)]
"""The path of a file or a directory. A relative one starts at the working directory; ``~`` is the home."""
