"""The base of a component's light config."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """What a recipe may say about one component, besides its ``kind``.

    >>> class Dense(Options):
    ...     units: int
    >>> Dense(units="20").units
    20
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
