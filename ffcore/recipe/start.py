"""The ``start`` part of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ffcore.options import FilePath
from ffcore.recipe.strict import Name, Strict


def _all_or_list(value: Any) -> Any:
    names = isinstance(value, list) and all(isinstance(name, str) for name in value)
    if value != "all" and not names:
        raise ValueError("should be 'all' or a list of names, such as [dense1]")
    return value


class StartConfig(Strict):
    """Initial weights from another run, and blocks that do not learn."""

    run: FilePath | None = Field(
        default=None, description="directory of the run whose weights are loaded; null: none"
    )
    checkpoint: Literal["last", "best"] | None = Field(
        default=None, description="checkpoint of that run; null: the one that it selected"
    )
    blocks: Annotated[list[Name], Field(min_length=1)] | None = Field(
        default=None, description="blocks and readouts to load; null: all whose names and shapes match"
    )
    freeze: Annotated[list[Name] | Literal["all"], BeforeValidator(_all_or_list)] = Field(
        default=[], description="blocks and readouts that do not learn; all: all blocks, but not the readouts"
    )

    @model_validator(mode="after")
    def _from_somewhere(self) -> Self:
        for name in ("checkpoint", "blocks"):
            if self.run is None and getattr(self, name) is not None:
                raise ValueError(f"{name!r} needs 'run'")
        return self
