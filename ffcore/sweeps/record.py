"""The schema of ``summary.json``: what a sweep reads again. Does not import torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, field_validator, model_validator

from ffcore.sweeps.search import Search


class Member(BaseModel):
    """A run in ``summary.json``. Its metrics there are for readers: they are read from its own results."""

    folder: str
    point: tuple[str, ...]
    overrides: tuple[str, ...]
    seed: Annotated[int, Field(strict=True, ge=0)] | None = None
    exit_status: Annotated[int, Field(strict=True, ge=0, le=255)] | None = None
    error: str | None = None
    trial: Annotated[int, Field(strict=True, ge=0)] | None = None
    pruned: Annotated[bool, Field(strict=True)] = False

    @field_validator("folder")
    @classmethod
    def _inside(cls, folder: str) -> str:
        # the runs of a sweep are written and resumed in these directories
        if folder in ("", ".", "..") or "/" in folder or "\0" in folder or len(folder.encode()) > 250:
            raise ValueError("should be the name of a directory in that of the sweep")
        return folder


class Summary(BaseModel):
    """The content of ``summary.json``, as far as it is read again."""

    format: Annotated[int, Field(strict=True, ge=0)] = 0
    recipe: str
    command: str | None
    report: Annotated[bool, Field(strict=True)] = False
    jobs: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    search: Search | None = None
    members: tuple[Member, ...]

    @field_validator("members")
    @classmethod
    def _once(cls, members: tuple[Member, ...]) -> tuple[Member, ...]:
        if len({member.folder for member in members}) < len(members):
            raise ValueError("two runs have the same folder")
        return members

    @model_validator(mode="after")
    def _whole(self) -> Summary:
        if self.search is None and not self.members:
            raise ValueError("members: there are none")
        if self.search is not None and any(member.trial is None for member in self.members):
            raise ValueError("members: a run of a search has no trial")
        return self
