"""The base of a component's light config."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

__all__ = ["Options"]


class Options(BaseModel):
    """What a recipe may say about one component, besides its ``kind``.

    Numbers are finite, and ``true`` is none of them.

    >>> class Dense(Options):
    ...     units: int
    >>> Dense(units="20").units
    20
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and info.field_name is not None:
            kinds = {*_types(cls.model_fields[info.field_name].annotation)}
            if kinds & {int, float} and bool not in kinds:
                raise ValueError("should be a number")
        return value


def _types(annotation: Any) -> Iterator[Any]:
    """What a union, or something annotated, is made of."""
    yield annotation
    if get_origin(annotation) in (Annotated, Union, UnionType):
        for inner in get_args(annotation):
            yield from _types(inner)
