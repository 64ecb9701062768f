"""All measures of one network, as parts of the record ``analysis.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ffcore.analysis.gradients import Pairs, cosines
from ffcore.analysis.representation import INPUT, defined, measured_blocks, representation, similarities
from ffcore.analysis.robustness import Scale, robustness
from ffcore.errors import UserError
from ffcore.network import Network
from ffcore.report.analysis_record import Robustness, Similarity

Tell = Callable[[str], object]
"""Is called with what is measured next."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is analysed.

    Attributes:
        net: the network.
        x: N samples as the network gets them.
        y: their targets.
        at_once: samples of a batch.
        scores: returns the scores of samples.
        mixed: makes the context of the network's precision.
        scale: unit of the inputs; None for samples that are not one tensor of floats.
    """

    net: Network
    x: Any
    y: Tensor | None
    at_once: int
    scores: Callable[[Tensor], Tensor]
    mixed: Callable[[], AbstractContextManager[Any]]
    scale: Scale | None


def measured(
    subject: Subject,
    twin: tuple[str, Subject] | None,
    batches: Pairs,
    split: str,
    seed: int,
    tell: Tell,
) -> dict[str, Any]:
    """Return the parts of the record that are measured.

    Args:
        subject: the network with its samples.
        twin: name of another network, and the network with the same samples; or None.
        batches: batches of which gradients are compared.
        split: where they come from.
        seed: of the noise.
        tell: see `Tell`.
    """
    measures, grams = representation(
        subject.net, subject.x, at_once=subject.at_once, mixed=subject.mixed, tell=tell
    )
    beside = None
    if twin is not None:
        path, other = twin
        name = "{} of the twin".format
        _, others = representation(
            other.net,
            other.x,
            at_once=other.at_once,
            mixed=other.mixed,
            tell=lambda n: tell(name(n)),
        )
        others.pop(INPUT, None)
        beside = _similarity(grams, others, path)
    tell("gradients")
    names = measured_blocks(subject.net)
    return {
        "blocks": tuple(measures),
        "similarity": _similarity(grams, grams, None),
        "twin": beside,
        "gradients": cosines(subject.net, batches, names, split),
        "robustness": _robust(subject, None if twin is None else twin[1], seed, tell),
    }


def _similarity(a: Mapping[str, Tensor], b: Mapping[str, Tensor], of: str | None) -> Similarity:
    values = [[defined(value) for value in row] for row in similarities(a, b)]
    if a is b:  # 1 but for rounding
        for index, row in enumerate(values):
            row[index] = None if row[index] is None else 1.0
    return Similarity(of=of, rows=tuple(a), columns=tuple(b), values=tuple(map(tuple, values)))


def _robust(subject: Subject, twin: Subject | None, seed: int, tell: Tell) -> Robustness:
    unit: Any = "range" if subject.scale is not None and subject.scale.low is not None else "deviation"
    try:
        if subject.scale is None or subject.y is None:
            raise UserError("inputs are not one tensor of floats")
        with torch.no_grad():
            accuracy, curves = robustness(
                subject.net,
                subject.x,
                subject.y,
                subject.scale,
                subject.scores,
                seed=seed,
                at_once=subject.at_once,
                other=None if twin is None else (twin.net, twin.x),
                tell=tell,
            )
    except UserError as error:
        return Robustness(unit=unit, accuracy=None, reason=str(error))
    return Robustness(unit=unit, accuracy=accuracy, curves=tuple(curves))
