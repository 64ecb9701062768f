"""What the JSON files of later evaluations in a run directory share. Does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ffcore.errors import UserError
from ffcore.reading import read_json

Count = Annotated[int, Field(strict=True, ge=1, lt=2**63)]


class Part(BaseModel):
    """Keys of newer versions are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class KeptRecord(Part):
    """The content of a file.

    Attributes:
        file: its name in the run directory.
        content: what it holds of a run, for messages.
    """

    file: ClassVar[str]
    content: ClassVar[str]

    @classmethod
    def read(cls, run_dir: Path) -> Self | None:
        """Read the file of a run; None if it has none.

        Args:
            run_dir: the run directory.

        Raises:
            UserError: the file is damaged, or of a newer version.
        """
        path = run_dir / cls.file
        if not path.exists():
            return None
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UserError(
                f"{str(path)!r}: not the {cls.content} of a run: {place}: {first['msg']}"
            ) from error

    def as_json(self) -> dict[str, Any]:
        """Return the values of the file."""
        return self.model_dump(mode="json")
