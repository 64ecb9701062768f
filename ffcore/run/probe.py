"""How well the features of each block tell classes apart: a linear probe, and a vote of nearest neighbours.

N samples; F features; K classes.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from ffcore.data.images import Split
from ffcore.data.split import cut, permutation
from ffcore.errors import UserError
from ffcore.interfaces import Block, Out, Views, dense
from ffcore.run.data import Data
from ffcore.run.evaluate import choose, open_data
from ffcore.run.predictor import Predictor
from ffcore.run.trainer import precision

SAMPLES = 10_000
"""Training samples that probes are fitted on, unless told otherwise."""

NEIGHBOURS = 5
MOST_FEATURES = 8192
"""Maps (C, H, W) with more numbers than that are averaged to a coarser grid."""

STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""L2 penalties of a linear probe, to half the squared weights, beside the mean loss of a sample."""

_ASKED_AT_ONCE = 500


def probe(
    run_dir: Path,
    split: str = "test",
    overrides: tuple[str, ...] = (),
    *,
    neighbours: int = NEIGHBOURS,
    samples: int = SAMPLES,
    tell: Callable[[str], object] = lambda what: None,
) -> dict[str, Any]:
    """Accuracy of probes on what each block hands on, and on its activity, in a neutral pass.

    Probes are fitted on the training split, the linear one's penalty is chosen on the validation split (a
    tenth of the training split where the run keeps none). Nothing is chosen on what is measured, but with
    ``split="val"``, where that penalty is.

    Args:
        run_dir: a run's folder.
        split: what to measure on: "test", "val" or "train" (the samples fitted on; none votes for itself).
        overrides: of the ``data`` part of the run's recipe: other files, or another set of the same shape.
        neighbours: how many of the nearest training samples, by cosine, vote.
        samples: training samples to fit on; fewer than there are get drawn by the run's seed.
        tell: told what is being probed.

    Returns:
        ``split, samples, data, fitted_on, neighbours, input, blocks``; ``input`` and for each block
        ``handoff`` and ``activity`` have ``features, linear, l2, neighbours``.

    Raises:
        UserError: when the run or its data cannot be read, or do not fit.
    """
    _check(overrides)
    predictor = Predictor(run_dir)
    data = open_data(predictor, overrides)
    if data.images.shape != predictor.shape:
        raise UserError(f"data: samples of {data.images.shape}; the run was trained on {predictor.shape}")
    measured = choose(data, split)
    learn, choice = (data.train, data.val) if data.val is not None else cut(data.train, 0.1, 0)
    assert choice is not None, "a tenth has been cut off"
    learn = _some(learn, samples, predictor.recipe.seed)
    most = len(learn) - (split == "train")
    if len(np.unique(learn.y)) == 1 or (neighbours > most and neighbours == NEIGHBOURS):
        raise UserError(f"--samples {samples}: too few to fit probes on, and {neighbours} neighbours to find")
    if neighbours > most:
        raise UserError(f"--neighbours {neighbours}: there are {most} samples to find them among")
    splits = [learn, choice, learn if split == "train" else measured]

    def metrics(name: str | None) -> dict[str, Any]:
        tell(name or "input")
        found = [_features(predictor, data, s, name) for s in splits]
        return _metrics(found, neighbours, leave_out=split == "train")

    blocks = predictor.module.network.blocks
    names = [block.name for block in blocks if block.info is None or not block.info.auxiliary]
    return {
        "split": split,
        "samples": len(splits[-1]),
        "data": data.images.name,
        "fitted_on": len(learn),
        "neighbours": neighbours,
        "input": metrics(None)["input"],
        "blocks": {name: metrics(name) for name in names},
    }


@dataclass(frozen=True)
class Features:
    """Features (N, F) of samples with classes (N,)."""

    x: Tensor
    y: Tensor


def linear(learn: Features, choice: Features, measured: Features) -> tuple[float, float]:
    """Accuracy on ``measured`` of a multinomial logistic regression, and its penalty.

    Features are standardised. It is fitted on ``learn`` with each penalty of `STRENGTHS`; of those that do
    best on ``choice`` the strongest is taken.
    """
    mean, std = learn.x.mean(0), learn.x.std(0, correction=0)
    scaled = [((f.x - mean) / torch.where(std > 0, std, 1)).numpy() for f in (learn, choice, measured)]
    model = LogisticRegression(warm_start=True, max_iter=300)
    best, accuracy, penalty = -1.0, 0.0, 0.0
    for l2 in STRENGTHS:
        model.C = 1 / (l2 * len(learn.y))
        # two BLAS threads that wait for each other take ten times as long as one
        with threadpool_limits(1, "blas"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the choice is on what was reached
            model.fit(scaled[0], learn.y.numpy())
        chosen = float(model.score(scaled[1], choice.y.numpy()))
        if chosen > best:
            best, accuracy, penalty = chosen, float(model.score(scaled[2], measured.y.numpy())), l2
    return accuracy, penalty


def nearest(learn: Features, asked: Features, k: int, *, leave_out: bool = False) -> float:
    """Accuracy of a vote of the ``k`` samples of ``learn`` that are nearest by cosine.

    Of classes with as many votes, that with the greater sum of cosines wins.

    Args:
        learn: the memory.
        asked: what to classify.
        k: how many vote.
        leave_out: ``asked`` is the memory, and no sample votes for itself.
    """
    memory, classes = normalize(learn.x), int(learn.y.max()) + 1
    hits = 0
    for first in range(0, len(asked.y), _ASKED_AT_ONCE):
        rows = slice(first, first + _ASKED_AT_ONCE)
        near = normalize(asked.x[rows]) @ memory.T
        if leave_out:
            near.diagonal(first).fill_(-math.inf)
        cosines, index = near.topk(k)
        votes = torch.zeros(len(near), classes)
        votes.scatter_add_(1, learn.y[index], 1 + cosines / (4 * k))  # all cosines together: half a vote
        hits += int((votes.argmax(1) == asked.y[rows]).sum())
    return hits / len(asked.y)


def _metrics(found: list[dict[str, Features]], neighbours: int, *, leave_out: bool) -> dict[str, Any]:
    learn, choice, measured = found
    made: dict[str, Any] = {}
    for part in learn:
        if part == "activity" and torch.equal(learn[part].x, learn["handoff"].x):
            made[part] = dict(made["handoff"])
            continue
        accuracy, l2 = linear(learn[part], choice[part], measured[part])
        vote = nearest(learn[part], measured[part], neighbours, leave_out=leave_out)
        features = learn[part].x.shape[1]
        made[part] = {"features": features, "linear": accuracy, "l2": l2, "neighbours": vote}
    return made


@torch.no_grad()
def _features(predictor: Predictor, data: Data, split: Split, name: str | None) -> dict[str, Features]:
    """Of one block, ``handoff`` and ``activity``; or ``input``, as the network is given it.

    Only one block's, however often the network has to run for that: all of them would fill the memory.
    """
    rows: dict[str, list[Tensor]] = {}
    module = predictor.module
    for batch in data.loader(split, torch.device("cpu"), None):
        seen: dict[str, Tensor] = {}

        def watch(
            block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views, seen: dict[str, Tensor] = seen
        ) -> None:
            if block.info is not None and block.info.name == name:
                seen |= {"handoff": out.handoff, "activity": out.activity}

        views = module.algorithm.neutral(batch.x)
        if name is None:
            seen["input"] = dense(views.x)
        else:
            with precision(predictor.recipe, batch.x.device):
                module.network.observe(views, watch)
        for part, made in seen.items():
            rows.setdefault(part, []).append(_flat(made.float()))
    y = torch.from_numpy(split.y)
    return {part: Features(torch.cat(parts), y) for part, parts in rows.items()}


def _flat(made: Tensor) -> Tensor:
    """(N, …) → (N, F); large maps are averaged to the finest square grid with at most `MOST_FEATURES`."""
    if made.dim() == 4 and made[0].numel() > MOST_FEATURES:
        side = max(1, math.isqrt(MOST_FEATURES // made.shape[1]))
        made = adaptive_avg_pool2d(made, (min(side, made.shape[2]), min(side, made.shape[3])))
    return made.flatten(1)


def _some(split: Split, most: int, seed: int) -> Split:
    return split if len(split) <= most else split.take(np.sort(permutation(len(split), seed)[:most]))


def _check(overrides: tuple[str, ...]) -> None:
    another = any(re.match(r"data(\.kind|\.dataset)?=", override) for override in overrides)
    for override in overrides:
        if not re.match(r"data[.=]", override) or re.match(r"data\.(batch_size|standardise)\b", override):
            raise UserError(
                f"override {override!r}: only the data may change, such as data.root=… or data.kind=…; "
                "inputs are made as for the run"
            )
        if re.match(r"data\.(validation|split_seed)\b", override) and not another:
            raise UserError(
                f"override {override!r}: how the run's own data is cut belongs to the run; "
                "with data.kind=… another set may be cut in another way"
            )
