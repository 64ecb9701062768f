"""The schema of ``analysis.json``: what the representations of a run are like. Does not import torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ffcore.files import ANALYSIS
from ffcore.report.kept_record import Count, KeptRecord, Part
from ffcore.report.text import NOTHING, count, percent, plural
from ffcore.report.values import Real, Share, Whole

Rank = Annotated[float, Field(strict=True, ge=0, lt=1e18)]
Cosine = Annotated[float, Field(strict=True, ge=-1, le=1)]
Change = Literal["noise", "shift", "fgsm", "transfer"]


class BlockMeasures(Part):
    """Measures of one activity in a neutral pass; None where one is not defined.

    Attributes:
        name: name of the block, or "input".
        features: number of units D, all values of a sample.
        population_sparsity: how few units answer to a sample, from 0 to 1.
        lifetime_sparsity: how few samples a unit answers to, from 0 to 1.
        zeros: share of values that are 0.
        dead: share of units that are 0 for all samples.
        effective_rank: number of dimensions that the samples fill.
        participation_ratio: number of dimensions that the variance fills.
    """

    name: str
    features: Count
    population_sparsity: Share | None
    lifetime_sparsity: Share | None
    zeros: Share
    dead: Share
    effective_rank: Rank | None
    participation_ratio: Rank | None


class Similarity(Part):
    """Unbiased linear CKA between activities of the same samples.

    Attributes:
        of: path of the other run; None between activities of the run itself.
        rows: names of the run's activities.
        columns: names of the other's.
        values: a row for each of the run's activities; None where one is constant.
    """

    of: str | None = None
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Real | None, ...], ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.values) != len(self.rows) or any(len(row) != len(self.columns) for row in self.values):
            raise ValueError("values do not fit the names of rows and columns")
        return self


class BlockCosine(Part):
    """Cosine between the local gradient of a block and that of the global loss.

    Attributes:
        name: name of the block.
        cosine: mean over batches; None if there is none.
        deviation: standard deviation over batches; None if there is none.
        reason: why there is none.
    """

    name: str
    cosine: Cosine | None
    deviation: Rank | None
    reason: str = ""


class GradientCosines(Part):
    """Cosines of all blocks.

    Attributes:
        split: of the batches.
        batches: number of batches.
        batch_size: samples of a batch.
        temperature: T of the global loss; None if there is none.
        blocks: in order.
        reason: why there are none at all.
    """

    split: str
    batches: Whole
    batch_size: Count
    temperature: Real | None
    blocks: tuple[BlockCosine, ...] = ()
    reason: str = ""


class ChangeCurve(Part):
    """Accuracy against the size of a change of the input.

    Attributes:
        change: which; "transfer" is FGSM with the gradient of the twin.
        levels: sizes: of "noise" σ, of "fgsm" and "transfer" ε in units of the data, of "shift" pixels.
        accuracies: of each size, as a fraction.
        reason: why there are none.
        still: of "fgsm" and "transfer", share of samples with a gradient of zero, which do not change.
    """

    change: Change
    levels: tuple[Real, ...] = ()
    accuracies: tuple[Share, ...] = ()
    reason: str = ""
    still: Share = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.levels) != len(self.accuracies):
            raise ValueError("there are not as many accuracies as levels")
        return self


class Robustness(Part):
    """Accuracy on changed inputs.

    Attributes:
        unit: "range" of images of bytes, or "deviation" of all values.
        accuracy: on the samples as they are; None if nothing was measured.
        curves: noise, shift, fgsm, and with a twin transfer.
        reason: why nothing was measured.
    """

    unit: Literal["range", "deviation"]
    accuracy: Share | None
    curves: tuple[ChangeCurve, ...] = ()
    reason: str = ""


class Analysis(KeptRecord):
    """What the representations of a network are like; the content of ``analysis.json``.

    ``print`` shows a line for each block; everything else is in the attributes.

    Attributes:
        format: version of the file.
        weights: checksum of the weights.
        data: name of the data set, or "given".
        split: "test", "val", or "given".
        samples: number of samples N.
        seed: seed of their choice and of the noise.
        blocks: measures of the input, if it is one tensor of floats, and of every block.
        similarity: CKA between them.
        twin: CKA with the blocks of another run; None without one.
        gradients: cosines between local gradients and those of backpropagation.
        robustness: accuracy on changed inputs.
    """

    file: ClassVar[str] = ANALYSIS
    content: ClassVar[str] = "analysis"
    format: Literal[1] = 1
    weights: str
    data: str
    split: str
    samples: Count
    seed: Whole
    blocks: tuple[BlockMeasures, ...]
    similarity: Similarity
    twin: Similarity | None = None
    gradients: GradientCosines
    robustness: Robustness

    def __repr__(self) -> str:
        """Return a table: a line for each block, then accuracies, and where everything else is."""
        cosines = {each.name: each.cosine for each in self.gradients.blocks}
        columns = ("", "units", "sparsity", "dead", "rank", "cosine with backpropagation")
        table = [
            (
                each.name,
                count(each.features),
                _real(each.population_sparsity, 2),
                percent(each.dead),
                _real(each.effective_rank, 1),
                _real(cosines.get(each.name), 2),
            )
            for each in self.blocks
        ]
        widths = [max(map(len, column)) for column in zip(columns, *table, strict=True)]
        lines = [
            "  ".join([f"{name:{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(cells, widths[1:], strict=True))])
            for name, *cells in (columns, *table)
        ]
        if self.gradients.reason:
            lines.append(f"no cosines: {self.gradients.reason}")
        lines.append(f"{plural(self.samples, 'sample')}, accuracy {percent(self.robustness.accuracy)}")
        for curve in self.robustness.curves:
            if curve.levels:
                lines[-1] += f"; with {curve.change} {curve.levels[-1]:g} {percent(curve.accuracies[-1])}"
        lines.append("more in the attributes blocks, similarity, twin, gradients, robustness")
        return "\n".join(lines)

    __str__ = __repr__


def _real(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
