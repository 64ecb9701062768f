"""The schema of ``exits.json``: thresholds of early exits, and what they give. Does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ffcore.errors import UserError
from ffcore.files import EXITS
from ffcore.reading import read_json
from ffcore.report.values import Percent, Real, Seconds, Share, Whole

Count = Annotated[int, Field(strict=True, ge=1, lt=2**63)]
Mean = Annotated[float, Field(ge=0, lt=1e18)]


class _Part(BaseModel):
    """Keys of newer versions are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ExitEntry(_Part):
    """One exit.

    Attributes:
        name: the last block that has run.
        blocks: number of blocks that have run.
        multiplications: of one sample, up to here.
        deviation: standard deviation of the margin on validation; None if it is 0, or at the last exit.
        threshold: margin from which a sample leaves; None: no sample leaves here, or it is the last exit.
    """

    name: str
    blocks: Count
    multiplications: Whole
    deviation: Real | None
    threshold: Real | None


class Point(_Part):
    """Accuracy and costs of a split, means over its samples.

    Attributes:
        accuracy: as a fraction.
        blocks: number of blocks that ran.
        multiplications: of a sample.
    """

    accuracy: Share
    blocks: Mean
    multiplications: Mean


class Tried(_Part):
    """One threshold.

    Attributes:
        t: in standard deviations of the margin; None: infinity, no sample leaves.
        validation: what it gives on validation.
        test: what it gives on test data.
    """

    t: Real | None
    validation: Point
    test: Point


class Way(_Part):
    """One way to predict.

    Attributes:
        name: "all blocks", "exits", or "readout NAME".
        validation: on validation.
        test: on test data, measured by predictions.
        milliseconds: of one sample of test data, a mean.
    """

    name: str
    validation: Point
    test: Point
    milliseconds: Seconds


class ExitRecord(_Part):
    """The content of ``exits.json``.

    Attributes:
        format: version of the file.
        weights: checksum of the weights.
        tolerance: largest loss of accuracy on validation, in percentage points.
        hypotheses: whether all blocks try every class as a hypothesis.
        samples: number of samples of "validation" and "test".
        batch_size: samples of a batch in which times were measured.
        threads: torch's threads.
        device: the device.
        standard_error: of the accuracy that exits lose against all blocks on test data, in percentage points;
            from the samples that only one of them predicts right.
        exits: the exits.
        tried: the thresholds, ascending.
        chosen: index of the chosen one.
        ways: ways to predict: all blocks, exits, then readouts.
    """

    format: Literal[1] = 1
    weights: str
    tolerance: Percent
    hypotheses: bool
    samples: dict[str, Count]
    batch_size: Count
    threads: Count
    device: str
    standard_error: Percent
    exits: Annotated[tuple[ExitEntry, ...], Field(min_length=2)]
    tried: Annotated[tuple[Tried, ...], Field(min_length=1)]
    chosen: Whole
    ways: Annotated[tuple[Way, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.chosen >= len(self.tried):
            raise ValueError(f"chosen is {self.chosen}, but there are {len(self.tried)} thresholds")
        return self

    @classmethod
    def read(cls, run_dir: Path) -> Self | None:
        """Read the file of a run; None if it has none.

        Raises:
            UserError: the file is damaged, or of a newer version.
        """
        path = run_dir / EXITS
        if not path.exists():
            return None
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UserError(f"{str(path)!r}: not the exits of a run: {place}: {first['msg']}") from error

    def as_json(self) -> dict[str, Any]:
        """Return the values of the file."""
        return self.model_dump(mode="json")
