"""Chooses thresholds of early exits for a run on its validation split, and measures them on test data.

    milliseconds = time of the predictions of all test batches / N
    standard error of the lost accuracy = deviation of d_n / √N,   d_n = [all blocks right] − [exits right]

The ways to predict take turns within every batch, so that all of them meet the same load of the machine.
The other formulas are those of `ffcore.local.exits`. N samples of a split; E exits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffcore import files
from ffcore.data.images import Dataset, Split
from ffcore.errors import UserError, expect
from ffcore.local.early import Early
from ffcore.local.exits import Measured, Operation, candidates, cheapest, thresholds
from ffcore.local.operations import OperationCounter
from ffcore.report.exit_record import ExitEntry, ExitRecord, Point, Tried, Way
from ffcore.run.data import Data, differing
from ffcore.run.directory import refuse_read_only, write_json
from ffcore.run.early import checksum, early_of
from ffcore.run.evaluate import checksums, open_data, refuse_other_overrides
from ffcore.run.finished import Run
from ffcore.run.predictor import Predictor
from ffcore.run.surroundings import own_settings
from ffcore.run.trainer import precision

TOLERANCE = 0.1
"""Default for the largest loss of accuracy on validation, in percentage points."""

_COUNTED = 2
"""Samples of a counted prediction."""

Predict = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From samples (N, *shape) to predicted classes (N,) and an index of `_Way.blocks` for each, (N,)."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to predict.

    Attributes:
        name: its name.
        predict: predicts a batch.
        blocks: number of blocks for each index that it returns.
        products: multiplications of a sample for each index.
    """

    name: str
    predict: Predict
    blocks: Sequence[int]
    products: Sequence[int]


@own_settings(warn=False)
@torch.no_grad()
def choose_exits(
    run: str | Path | Run | Predictor,
    tolerance: float = TOLERANCE,
    overrides: tuple[str, ...] = (),
    tell: Callable[[str], object] = lambda what: None,
    *,
    data: Dataset | None = None,
) -> ExitRecord:
    """Chooses the thresholds of a run, and writes them with what they give into its file ``exits.json``.

    Only the validation split takes part in the choice. Test data are measured afterwards.

    Args:
        run: the run directory, or what `ffcore.load` returns, for a run of Python objects.
        tolerance: largest loss of accuracy on validation against all blocks, in percentage points.
        overrides: where the run's data are now, such as ``data.root=…``.
        tell: called with what is done next.
        data: the data set of a run whose data were given from Python, as it was given; of a run of
            `ffcore.fit` that of `ffcore.run.fit.dataset_of`.

    Raises:
        UserError: the run has no validation split, its evidence is not known block by block, or its data
            cannot be read or are other data; or the directory cannot be written to.

    Example:
        ``ffcore.choose_exits("runs/mnist-ff", tolerance=0.1).ways[1].test.multiplications`` is the mean
        number of multiplications with early exits.
    """
    expect("tolerance", tolerance, (int, float), "percentage points")
    if not 0 <= tolerance <= 100:
        raise UserError(f"tolerance: should be from 0 to 100 percentage points, not {tolerance}")
    refuse_other_overrides(overrides)
    run = run.path if isinstance(run, Run) else run
    expect("run", run, (str, Path, Predictor), "a run directory, or what ffcore.load returns")
    predictor = run if isinstance(run, Predictor) else Predictor(run)
    if predictor.recipe.data.dataset.kind == "given" and data is None:
        raise UserError(f"data: those of {predictor.path} were given from Python; give them again as data=…")
    early = early_of(predictor.module)
    refuse_read_only(predictor.path)
    opened = open_data(predictor, overrides, data)
    other = differing(checksums(predictor.provenance), checksums(opened.images.provenance))
    if other is not None:
        raise UserError(f"exits: are chosen on the run's own validation split, but {other} has other data")
    if opened.val is None:
        raise UserError(
            "exits: are chosen on the validation split, which the run has not; set data.validation"
        )
    with precision(predictor.recipe, torch.device("cpu")):
        return _chosen(predictor, early, opened, opened.val, tolerance, tell)


def _chosen(
    predictor: Predictor,
    early: Early,
    data: Data,
    val: Split,
    tolerance: float,
    tell: Callable[[str], object],
) -> ExitRecord:
    test = data.images.test
    some = next(_samples(data, val))[0][:_COUNTED]
    products = early.multiplications(some)
    tell("choosing thresholds on validation")
    measured = _measured(early, data, val)
    every = candidates(measured)
    limits = [thresholds(t, measured.deviations) for t in every]
    tried = [measured.at(of_t, early.blocks, products) for of_t in limits]
    chosen = cheapest(tried, tolerance)
    tell("measuring thresholds on test data")
    tested = _measured(early, data, test)
    on_test = [tested.at(of_t, early.blocks, products) for of_t in limits]
    ways = _ways(predictor, early, products, limits[chosen].tolist(), some)
    tell("timing predictions")
    operations, times, right, left = _timed(ways, data, test)
    shares = left[1].bincount(minlength=len(early.exits)).double() / len(test)
    lost = right[0].double() - right[1].double()
    validated = [tried[-1], tried[chosen]]
    validated += _timed(ways[2:], data, val)[0] if len(ways) > 2 else []
    deviations = [*measured.deviations[:-1].tolist(), 0.0]
    record = ExitRecord(
        weights=checksum(predictor.module),
        tolerance=tolerance,
        hypotheses=predictor.module.algorithm.hypotheses,
        samples={"validation": len(val), "test": len(test)},
        batch_size=data.recipe.data.batch_size,
        threads=torch.get_num_threads(),
        device="cpu",
        standard_error=100 * float(lost.std(correction=0)) / math.sqrt(len(lost)),
        exits=tuple(
            ExitEntry(
                name=exit_.name,
                blocks=exit_.blocks,
                multiplications=number,
                deviation=sigma if sigma > 0 and math.isfinite(sigma) else None,
                threshold=_finite(limit),
                share=share,
            )
            for exit_, number, sigma, limit, share in zip(
                early.exits,
                products,
                deviations,
                [*limits[chosen].tolist(), math.inf],
                shares.tolist(),
                strict=True,
            )
        ),
        tried=tuple(
            Tried(t=_finite(t), validation=_point(v), test=_point(on))
            for t, v, on in zip(every, tried, on_test, strict=True)
        ),
        chosen=chosen,
        ways=tuple(
            Way(name=way.name, validation=_point(v), test=_point(on), milliseconds=ms)
            for way, v, on, ms in zip(ways, validated, operations, times, strict=True)
        ),
    )
    write_json(predictor.path / files.EXITS, record.as_json())
    return record


def _samples(data: Data, split: Split) -> Any:
    """Yields the batches of a split, samples and classes."""
    for batch in data.loader(split, torch.device("cpu"), None):
        yield batch.x, batch.y


def _measured(early: Early, data: Data, split: Split) -> Measured:
    """Returns margins and right predictions after all exits, for all samples of a split."""
    parts = [early.measure(x, y) for x, y in _samples(data, split)]
    return Measured(torch.cat([p.margins for p in parts], 1), torch.cat([p.right for p in parts], 1))


def _ways(
    predictor: Predictor, early: Early, products: Sequence[int], limits: Sequence[float], some: Tensor
) -> list[_Way]:
    """Returns the ways to predict: with all blocks, with exits, and with each readout on a neutral pass."""
    net = predictor.module.net

    def all_blocks(x: Tensor) -> tuple[Tensor, Tensor]:
        made = early.whole(x).argmax(1)
        return made, torch.full_like(made, len(early.exits) - 1)

    def exits(x: Tensor) -> tuple[Tensor, Tensor]:
        scores, out = early.predict(x, limits)
        return scores.argmax(1), out

    ways = [
        _Way("all blocks", all_blocks, early.blocks, products),
        _Way("exits", exits, early.blocks, products),
    ]
    for name in net.local.readouts:

        def read(x: Tensor, name: str = name) -> tuple[Tensor, Tensor]:
            made = net.local.read(net.algorithm.neutral(x))[name].argmax(1)
            return made, torch.zeros_like(made)

        with OperationCounter() as operations:
            read(some)
        number = operations.multiplications // len(some)
        ways.append(_Way(f"readout {name}", read, (len(net.blocks),), (number,)))
    return ways


def _timed(
    ways: Sequence[_Way], data: Data, split: Split
) -> tuple[list[Operation], list[float], list[Tensor], list[Tensor]]:
    """Returns what ways give on a split, their milliseconds of a sample, and of each sample, (N,), whether it
    is right and the index of its exit.
    """
    right: list[list[Tensor]] = [[] for _ in ways]
    out: list[list[Tensor]] = [[] for _ in ways]
    seconds = [0.0 for _ in ways]
    for step, (x, y) in enumerate(_samples(data, split)):
        for index, way in enumerate(ways):
            if not step:
                way.predict(x)  # the first call of anything takes longer
            start = time.perf_counter()
            made, where = way.predict(x)
            seconds[index] += time.perf_counter() - start
            right[index].append(made == y)
            out[index].append(where)
    joined, left = ([torch.cat(each) for each in of_ways] for of_ways in (right, out))
    operations = [
        Operation.of(r, o, way.blocks, way.products) for way, r, o in zip(ways, joined, left, strict=True)
    ]
    return operations, [1000 * each / len(split) for each in seconds], joined, left


def _point(of: Operation) -> Point:
    return Point(accuracy=of.accuracy, blocks=of.blocks, multiplications=of.multiplications)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
