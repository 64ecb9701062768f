"""`evaluate`: the accuracy of a network, or of a finished run, on given samples; measures of other tasks.

N samples; K classes; L sources of evidence.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from ffcore.engine.measures import measures_of
from ffcore.engine.metrics import Accuracy
from ffcore.errors import UserError, expect
from ffcore.interfaces import Task
from ffcore.interfaces.structure import mapped, rows
from ffcore.network import Network
from ffcore.run.evaluate import open_data
from ffcore.run.finished import Run
from ffcore.run.predictor import Predictor
from ffcore.run.samples import class_numbers, targets
from ffcore.tasks import Classification

_AT_ONCE = 500


@dataclass(frozen=True)
class Evaluation:
    """The measures of predictions on some samples.

    Attributes:
        samples: number of samples.
        measures: measures of the predictions from the combined evidence of all sources, by name: "accuracy"
            of classes, "r2" of real numbers, and so on; see `ffcore.tasks`.
        per_block: the first of these, the headline of the task, for each single source, by name.
        confusion: (K, K) counts; rows are true classes. Empty for other tasks.
    """

    samples: int
    measures: Mapping[str, float]
    per_block: Mapping[str, float]
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of correct predictions, from the combined evidence of all sources."""
        if "accuracy" not in self.measures:
            raise AttributeError(f"this task has no accuracy; it has {', '.join(self.measures)}")
        return self.measures["accuracy"]

    @property
    def error(self) -> float:
        """100 · (1 − accuracy), in percent."""
        return round(100 * (1 - self.accuracy), 4)

    @property
    def per_block_accuracy(self) -> Mapping[str, float]:
        """The accuracy of each single source, by name."""
        if next(iter(self.measures)) != "accuracy":
            raise AttributeError("this task has no accuracy of each block; see per_block")
        return self.per_block


def evaluate(
    what: Network | Predictor | Run | str | os.PathLike[str], data: tuple[Any, Any] | None = None
) -> Evaluation:
    """Returns the measures of a network or of a finished run: from all evidence, and from each source.

    >>> import torch, ffcore
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> ffcore.evaluate(net, (torch.rand(20, 1, 8, 8), torch.arange(20) % 10)).samples
    20

    Args:
        what: a network, a predictor, a run, or a run directory.
        data: samples x (N, *shape) and classes y (N,), or the targets of another task. For a network:
            tensors, as for its training. For a run: arrays or tensors of stored values, as in its data set;
            classes may be names. None: the test split of the run.

    Raises:
            UserError: the samples do not fit, there are no samples, or ``data`` is None for a network.
    """
    if data is not None and not (isinstance(data, tuple | list) and len(data) == 2):
        raise UserError("data: should be a pair (x, y) of samples and classes")
    if isinstance(what, Network):
        if data is None:
            raise UserError("data: give samples and classes (x, y) to evaluate a network on")
        names = [source.name for source in what.sources]
        return _counted(names, what.task, _of_network(what, *data))
    predictor = what.predictor() if isinstance(what, Run) else what
    if not isinstance(predictor, Predictor):
        expect("what", predictor, (str, os.PathLike), "a network, a run, or the path of a run directory")
        predictor = Predictor(os.fspath(predictor))
    if data is None:
        own = open_data(predictor, ())
        batches: Iterable[Any] = own.loader(own.images.test, torch.device("cpu"), None)
    else:
        classes = type(predictor.form.task) is Classification
        y = class_numbers(data[1], predictor.classes) if classes else targets(data[1], predictor.form.task)
        batches = predictor.loader(data[0], y)
    names = [source.name for source in predictor.module.sources]
    measured = ((*predictor.measure(batch.x), batch.y) for batch in batches)
    return _counted(names, predictor.module.net.task, measured)


def _of_network(net: Network, x: Any, y: Tensor) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
    net.batch(x, y, 0, 0)  # only to raise for samples or classes that do not fit
    for first in range(0, rows(x), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        evidence = net.evidence(mapped(x, itemgetter(part)))
        yield evidence, net.combine(evidence), y[part]


def _counted(
    names: Sequence[str], task: Task, batches: Iterable[tuple[Tensor, Tensor, Tensor]]
) -> Evaluation:
    measured, count = measures_of(task, len(names)), 0
    for evidence, combined, y in batches:
        if isinstance(measured, Accuracy):
            measured.to(y.device)
        measured.update(evidence, combined, y)
        count += len(y)
    if not count:
        raise UserError("data: has no samples; the accuracy is not defined")
    metrics = measured.metrics()
    per_block = dict(zip(names, metrics.pop("per_source"), strict=True))
    confusion = tuple(tuple(row) for row in metrics.pop("confusion", ()))
    return Evaluation(count, metrics, per_block, confusion)
