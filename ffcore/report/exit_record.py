"""The schema of ``exits.json``: thresholds of early exits, and what they give. Does not import torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ffcore.files import EXITS
from ffcore.report.kept_record import Count, KeptRecord, Part
from ffcore.report.values import Percent, Real, Seconds, Share, Whole

Mean = Annotated[float, Field(ge=0, lt=1e18)]


class ExitEntry(Part):
    """One exit.

    Attributes:
        name: the last block that has run.
        blocks: number of blocks that have run.
        multiplications: of one sample, up to here.
        deviation: standard deviation of the margin on validation; None if it is 0, or at the last exit.
        threshold: margin from which a sample leaves; None: no sample leaves here, or it is the last exit.
        share: fraction of the test samples that leave here; None for older runs.
    """

    name: str
    blocks: Count
    multiplications: Whole
    deviation: Real | None
    threshold: Real | None
    share: Share | None = None


class Point(Part):
    """Accuracy and costs of a split, means over its samples.

    Attributes:
        accuracy: as a fraction.
        blocks: number of blocks that ran.
        multiplications: of a sample.
    """

    accuracy: Share
    blocks: Mean
    multiplications: Mean


class Tried(Part):
    """One threshold.

    Attributes:
        t: in standard deviations of the margin; None: infinity, no sample leaves.
        validation: what it gives on validation.
        test: what it gives on test data.
    """

    t: Real | None
    validation: Point
    test: Point


class Way(Part):
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


class ExitRecord(KeptRecord):
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

    file: ClassVar[str] = EXITS
    content: ClassVar[str] = "exits"
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
