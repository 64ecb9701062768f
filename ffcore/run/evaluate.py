"""Evaluates a finished run on its own data or on other files of the same form."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ffcore import files
from ffcore.build.form import Form
from ffcore.data.images import Dataset, Split
from ffcore.engine.measures import measures_of
from ffcore.engine.metrics import Accuracy, Measures
from ffcore.errors import RunError, UserError
from ffcore.interfaces import Batch
from ffcore.recipe.load import load as load_recipe
from ffcore.run.data import Data, differing
from ffcore.run.device import Places, in_turn
from ffcore.run.predictor import Predictor

_CUT = r"data\.(batch_size|batches|validation|split_seed|label_noise|standardise)\b"


def evaluate(
    run_dir: Path,
    split: str = "test",
    overrides: tuple[str, ...] = (),
    *,
    device: str | torch.device = "auto",
    devices: int = 1,
) -> dict[str, Any]:
    """Returns the accuracy of a run on one split.

    Args:
        run_dir: the run directory.
        split: "test", "val", "train", or "all" samples.
        overrides: of the ``data`` part of the run's recipe, such as ``data.root=…``.
        device: "auto" for a GPU if there is one, "cpu", "cuda" or "cuda:1".
        devices: number of processes, which run the same program and take batches in turn; all return the
            same numbers, those of one process.

    Returns:
        ``split, samples, accuracy, error, per_block_accuracy, measures``.

    Raises:
        UserError: this machine does not have the devices, or the run or its data cannot be read, or do not
            fit.
    """
    places = Places.of(device, devices)
    refuse_other_overrides(overrides)
    predictor = Predictor(run_dir, device=places.device)
    data = open_data(predictor, overrides)
    form = Form.of(data.images)
    own = predictor.form
    if type(form.task) is not type(own.task) or (form.dtype != own.dtype and not (form.plain and own.plain)):
        now, then = (f"{type(each.task).__name__} of {each.dtype}" for each in (form, own))
        raise UserError(f"data: {now}; the run was trained on {then}")
    if data.images.shape != own.shape or data.images.num_classes != len(predictor.classes):
        raise UserError(
            f"data: {data.images.num_classes} classes of {data.images.shape}; the run was trained on "
            f"{len(predictor.classes)} of {own.shape}"
        )
    chosen = choose(data, split)
    names = [source.name for source in predictor.module.sources]
    measured = measures_of(predictor.form.task, len(names))
    measures = Measures()

    def of_batch(number: int, batch: Batch) -> tuple[Any, ...]:
        return *predictor.measure(batch.x), batch.y, dict(predictor.metrics(batch, number))

    with places.joined(predictor.recipe) as group:
        for evidence, combined, y, metrics in in_turn(
            data.loader(chosen, places.device, None), of_batch, group
        ):
            if isinstance(measured, Accuracy):
                measured.to(y.device)
            measured.update(evidence, combined, y)
            measures.update(metrics, len(y))
    try:
        metrics = measured.metrics()
    except RunError as error:  # an evaluation writes no file, so the exit code is 2
        raise UserError(f"{run_dir}: {error}") from error
    return {
        "split": split,
        "samples": len(chosen),
        **results_of_split(metrics, names),
        "measures": measures.metrics(),
    }


def refuse_other_overrides(overrides: Sequence[str]) -> None:
    """Raise if an override changes more than the source of the data.

    Raises:
        UserError: with the override.
    """
    for override in overrides:
        if not re.match(r"data[.=]", override) or re.match(_CUT, override):
            raise UserError(
                f"override {override!r}: only the source of the data may change, such as data.root=…; "
                "splitting and scaling belong to the run"
            )


def open_data(predictor: Predictor, overrides: tuple[str, ...], given: Dataset | None = None) -> Data:
    """Returns the run's data, or other ones, with the mean and std of the run's training data.

    Args:
        predictor: of the run.
        overrides: where the data are now.
        given: the data set of a run whose data were given from Python.
    """
    recipe = predictor.recipe
    if overrides:
        recipe = load_recipe(str(predictor.path / files.CONFIG), overrides)
    data = Data.open(recipe, given, predictor.form.task, predictor.encoding)
    changed = differing(checksums(predictor.provenance), checksums(data.images.provenance))
    if changed is not None and not overrides and given is None:
        warnings.warn(
            f"{changed}: has changed since the run was trained: its checksum differs; the accuracy is that "
            "of the new data",
            stacklevel=3,
        )
    return replace(data, mean=predictor.mean, std=predictor.std)


def checksums(provenance: Mapping[str, str]) -> dict[str, str]:
    """Returns the checksums in a provenance, without versions of packages."""
    return {name: value for name, value in provenance.items() if re.fullmatch("[0-9a-f]{64}", value)}


def choose(data: Data, split: str) -> Split:
    """Returns the split "test", "val" or "train", or "all" samples of them.

    Raises:
        UserError: the run has no validation split.
    """
    if split == "all":
        return Split.joined([part for part in (data.train, data.val, data.images.test) if part is not None])
    chosen = {"test": data.images.test, "val": data.val, "train": data.train}[split]
    if chosen is None:
        raise UserError("the run has no validation split; use --split test or train")
    return chosen


def results_of_split(metrics: Mapping[str, Any], sources: Sequence[str]) -> dict[str, Any]:
    """Returns the results of one split, of the metrics of `measures_of`.

    Of classes ``accuracy``, ``error`` in percent and ``per_block_accuracy``; of another task its measures and
    ``per_block``, the headline of each source. A measure that is not defined is None: JSON has no NaN.
    """
    per_source = zip(sources, metrics["per_source"], strict=True)
    if "confusion" not in metrics:
        own = {name: _json(metrics[name]) for name in metrics if name not in ("per_source", "measures")}
        of_blocks = {name: _json(value) for name, value in per_source}
        undefined = all(value is None for value in of_blocks.values())  # as without targets
        return {**own, "per_block": {} if undefined else of_blocks}
    return {
        "accuracy": metrics["accuracy"],
        "error": round(100 * (1 - metrics["accuracy"]), 4),
        "per_block_accuracy": dict(per_source),
    }


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None
