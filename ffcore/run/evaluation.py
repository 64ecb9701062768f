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

from ffcore.data.given import read
from ffcore.engine.measures import measures_of, own_measures
from ffcore.engine.metrics import Accuracy, Measures
from ffcore.errors import UserError, expect
from ffcore.interfaces import Batch, Task
from ffcore.interfaces.modes import evaluating
from ffcore.interfaces.structure import mapped, rows
from ffcore.network import Network
from ffcore.run.device import Places, in_turn
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
    what: Network | Predictor | Run | str | os.PathLike[str],
    data: Any = None,
    *,
    device: str | torch.device | None = None,
    devices: int = 1,
) -> Evaluation:
    """Returns the measures of a network or of a finished run: from all evidence, and from each source.

    >>> import torch, ffcore
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> ffcore.evaluate(net, (torch.rand(20, 1, 8, 8), torch.arange(20) % 10)).samples
    20

    Args:
        what: a network, a predictor, a run, or a run directory.
        data: samples x (N, *shape) and classes y (N,), or the targets of another task. For a network:
            tensors or arrays, or a data set or loader, with values as for its training. For a run: arrays or
            tensors of stored values, as in its data set; classes may be names. For a network without targets
            x alone will do. None: the test split of the run.
        device: of a run, "auto" for a GPU if there is one (the default), "cpu", "cuda" or "cuda:1". A network
            and a predictor are evaluated where they are.
        devices: of a run, number of processes. They run the same program, as in `train`, and take batches in
            turn; all get the same numbers, those of one process.

    Raises:
        UserError: the samples do not fit, there are no samples, ``data`` is None for a network, or this
            machine does not have the devices.
    """
    if isinstance(what, Network | Predictor) and (device is not None or devices != 1):
        how = "load it with device=…" if isinstance(what, Predictor) else "move it with to(…)"
        raise UserError(f"device: a {type(what).__name__} is evaluated where it is, by one process; {how}")
    places = Places.of("auto" if device is None else device, devices)
    if isinstance(what, Network):
        names = [source.name for source in what.sources]
        return _counted(names, what.task, _of_network(what, *_given(what, data)))
    if data is not None and not (isinstance(data, tuple | list) and len(data) == 2):
        raise UserError("data: should be a pair (x, y) of samples and classes")
    predictor = what.predictor(device=places.device) if isinstance(what, Run) else what
    if not isinstance(predictor, Predictor):
        expect("what", predictor, (str, os.PathLike), "a network, a run, or the path of a run directory")
        predictor = Predictor(os.fspath(predictor), device=places.device)
    if data is None:
        own = open_data(predictor, ())
        batches: Iterable[Any] = own.loader(own.images.test, predictor.device, None)
    else:
        classes, own_task = type(predictor.form.task) is Classification, predictor.form.task
        y = class_numbers(data[1], predictor.classes) if classes else None
        if not classes and own_task.target != "none":
            y = targets(data[1], own_task)
        batches = predictor.loader(data[0], y)
    names = [source.name for source in predictor.module.sources]
    task = predictor.module.net.task

    def of_batch(number: int, batch: Batch) -> _Measured:
        own = dict(predictor.metrics(batch, number)) if task.target == "none" else {}
        return *predictor.measure(batch.x), batch.y, own

    with places.joined(predictor.recipe) as group:
        return _counted(names, task, in_turn(batches, of_batch, group))


def _given(net: Network, data: Any) -> tuple[Any, Tensor | None]:
    """Return samples and targets for a network, as tensors."""
    if data is None:
        raise UserError("data: give samples and classes (x, y) to evaluate a network on")
    if net.task.target == "none" and isinstance(data, Tensor):
        return data, None
    pair = isinstance(data, tuple | list) and len(data) == 2
    if pair and (data[1] is None or isinstance(data[1], Tensor)):
        return data[0], data[1]
    split, like = read("data", data, net.task), next(net.parameters(), torch.zeros(()))
    x, y = (mapped(each, lambda a: torch.from_numpy(a).to(like.device)) for each in (split.x, split.y))
    return mapped(x, lambda t: t.to(like.dtype) if t.is_floating_point() else t), y


_Measured = tuple[Tensor, Tensor, Tensor, Mapping[str, Tensor]]
"""Evidence, combined scores, targets, and measures of the network itself, of one batch."""


def _of_network(net: Network, x: Any, y: Tensor | None) -> Iterable[_Measured]:
    net.batch(x, y, 0, 0)  # only to raise for samples or classes that do not fit
    for number, first in enumerate(range(0, rows(x), _AT_ONCE)):
        some = itemgetter(slice(first, first + _AT_ONCE))
        batch = net.batch(mapped(x, some), None if y is None else some(y), 0, number)
        evidence = net.evidence(batch.x)
        own: Mapping[str, Tensor] = {}
        if net.task.target == "none":
            with torch.no_grad(), evaluating(net):
                own = own_measures(net, batch)
        yield evidence, net.combine(evidence), batch.y, own


def _counted(names: Sequence[str], task: Task, batches: Iterable[_Measured]) -> Evaluation:
    measured, of_network, count = measures_of(task, len(names)), Measures(), 0
    for evidence, combined, y, own in batches:
        if isinstance(measured, Accuracy):
            measured.to(y.device)
        measured.update(evidence, combined, y)
        of_network.update(own, len(y))
        count += len(y)
    if not count:
        raise UserError("data: has no samples; the accuracy is not defined")
    metrics = measured.metrics()
    per_block = dict(zip(names, metrics.pop("per_source"), strict=True))
    confusion = tuple(tuple(row) for row in metrics.pop("confusion", ()))
    return Evaluation(count, {**metrics, **of_network.metrics()}, per_block, confusion)
