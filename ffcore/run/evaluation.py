"""`evaluate`: the accuracy of a network, or of a finished run, on given samples.

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

from ffcore.engine.metrics import Accuracy
from ffcore.errors import UserError, expect
from ffcore.interfaces.structure import mapped, rows
from ffcore.network import Network
from ffcore.run.evaluate import accuracies, open_data
from ffcore.run.finished import Run
from ffcore.run.predictor import Predictor
from ffcore.run.samples import class_numbers

_AT_ONCE = 500


@dataclass(frozen=True)
class Evaluation:
    """The accuracy of predictions on some samples.

    Attributes:
        samples: number of samples.
        accuracy: share of correct predictions, from the combined evidence of all sources.
        error: 100 · (1 − accuracy), in percent.
        per_block_accuracy: the accuracy of each single source, by name.
        confusion: (K, K) counts; rows are true classes.
    """

    samples: int
    accuracy: float
    error: float
    per_block_accuracy: Mapping[str, float]
    confusion: tuple[tuple[int, ...], ...]


def evaluate(
    what: Network | Predictor | Run | str | os.PathLike[str], data: tuple[Any, Any] | None = None
) -> Evaluation:
    """Returns the accuracy of a network or of a finished run: from all evidence, and from each source.

    >>> import torch, ffcore
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> ffcore.evaluate(net, (torch.rand(20, 1, 8, 8), torch.arange(20) % 10)).samples
    20

    Args:
        what: a network, a predictor, a run, or a run directory.
        data: samples x (N, *shape) and classes y (N,). For a network: tensors, as for its training. For a
            run: arrays or tensors of stored values, as in its data set; classes may be names. None: the test
            split of the run.

    Raises:
            UserError: the samples do not fit, there are no samples, or ``data`` is None for a network.
    """
    if data is not None and not (isinstance(data, tuple | list) and len(data) == 2):
        raise UserError("data: should be a pair (x, y) of samples and classes")
    if isinstance(what, Network):
        if data is None:
            raise UserError("data: give samples and classes (x, y) to evaluate a network on")
        return _counted([s.name for s in what.sources], what.classes, _of_network(what, *data))
    predictor = what.predictor() if isinstance(what, Run) else what
    if not isinstance(predictor, Predictor):
        expect("what", predictor, (str, os.PathLike), "a network, a run, or the path of a run directory")
        predictor = Predictor(os.fspath(predictor))
    if data is None:
        own = open_data(predictor, ())
        batches: Iterable[Any] = own.loader(own.images.test, torch.device("cpu"), None)
    else:
        batches = predictor.loader(data[0], class_numbers(data[1], predictor.classes))
    names = [source.name for source in predictor.module.sources]
    measured = ((*predictor.measure(batch.x), batch.y) for batch in batches)
    return _counted(names, len(predictor.classes), measured)


def _of_network(net: Network, x: Any, y: Tensor) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
    net.batch(x, y, 0, 0)  # only to raise for samples or classes that do not fit
    for first in range(0, rows(x), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        evidence = net.evidence(mapped(x, itemgetter(part)))
        yield evidence, net.combine(evidence), y[part]


def _counted(
    names: Sequence[str], classes: int, batches: Iterable[tuple[Tensor, Tensor, Tensor]]
) -> Evaluation:
    accuracy, count = Accuracy(len(names), classes), 0
    for evidence, combined, y in batches:
        accuracy.to(y.device).update(evidence, combined, y)
        count += len(y)
    if not count:
        raise UserError("data: has no samples; the accuracy is not defined")
    metrics = accuracy.metrics()
    confusion = tuple(tuple(row) for row in metrics["confusion"])
    return Evaluation(count, **accuracies(metrics, names), confusion=confusion)
