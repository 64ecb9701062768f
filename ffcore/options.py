"""Types for the arguments of components: ranges, and components given by their kind.

The constructor is the only declaration of a component's options. Its annotations are the types that recipes
are checked against, and its docstring describes each option:

    def __init__(self, units: Count, leak: BelowOne = 0.3, labels: LabelCode | ByName = "overlay") -> None:

For other ranges use pydantic's ``Field``: ``Annotated[int, Field(ge=1, le=16)]``. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

__all__ = [
    "BelowOne",
    "ByName",
    "Count",
    "Fraction",
    "FunctionTarget",
    "Natural",
    "NonNegative",
    "Number",
    "Part",
    "Positive",
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

# Field comes first: pydantic writes its range into the JSON schema only where it follows the type
Count = Annotated[int, Field(ge=1), NotBool]
"""1, 2, 3, …"""

Natural = Annotated[int, Field(ge=0), NotBool]
"""0, 1, 2, …"""

Number = Annotated[float, NotBool]
"""Any finite number."""

NonNegative = Annotated[float, Field(ge=0), NotBool]
"""A number ≥ 0."""

Positive = Annotated[float, Field(gt=0), NotBool]
"""A number > 0."""

Fraction = Annotated[float, Field(ge=0, le=1), NotBool]
"""A number in [0, 1]."""

BelowOne = Annotated[float, Field(ge=0, lt=1), NotBool]
"""A number in [0, 1)."""
