"""Types of the values in ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

# Strict: a string is not a number, and a boolean is not one either.
Whole = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Huge = Annotated[int, Field(strict=True, ge=0)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Seconds = Annotated[float, Field(strict=True, ge=0, lt=1e15)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]


def _without_null(accuracies: Any, info: ValidationInfo) -> Any:
    """Returns the accuracies that were measured: older runs have null for the others."""
    if info.context and isinstance(accuracies, Mapping):
        return {name: value for name, value in accuracies.items() if value is not None}
    return accuracies


def _fixed(shape: Any) -> Any:
    """Returns the shape of a sample with tuples; of several inputs a tuple or mapping of shapes."""
    if isinstance(shape, Mapping | list | tuple):
        parts = {name: _fixed(each) for name, each in shape.items()} if isinstance(shape, Mapping) else None
        return tuple(map(_fixed, shape)) if parts is None else parts
    if type(shape) is not int or shape < 0:
        raise ValueError("a shape should have sizes")
    return shape


Shape = Annotated[Any, AfterValidator(_fixed)]
"""Shape of a sample, or a tuple or mapping of the shapes of several inputs."""

PerSource = Annotated[Mapping[str, Share], BeforeValidator(_without_null)]


def _square(rows: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    if any(len(row) != len(rows) for row in rows):
        raise ValueError("its rows and columns should be the classes")
    return rows


Counts = Annotated[
    tuple[tuple[Annotated[int, Field(strict=True, ge=0, lt=2**53)], ...], ...], AfterValidator(_square)
]
