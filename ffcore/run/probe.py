"""Probes on the features of each block: logistic regression, and a vote of the nearest neighbours.

Linear probe: minimises the mean cross-entropy of a sample + l2 / 2 · ‖W‖²; scikit-learn's C = 1 / (l2 · N).
Neighbours: a vote of the k training samples with the largest cosine.
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
from ffcore.data.split import cut, some
from ffcore.errors import UserError
from ffcore.interfaces import Block, Out, Views, dense
from ffcore.run.data import Data
from ffcore.run.device import Places, in_turn
from ffcore.run.evaluate import choose, open_data
from ffcore.run.predictor import Predictor
from ffcore.run.trainer import precision
from ffcore.tasks import Classification

SAMPLES = 10_000
"""Default number of training samples that probes are fitted on."""

NEIGHBOURS = 5
MOST_FEATURES = 8192
"""Feature maps (C, H, W) with more values are averaged to a coarser grid."""

STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""L2 penalties of a linear probe: factors of half the squared weights, added to the mean loss of a sample."""

_QUERIES_AT_ONCE = 500  # limits the memory of the matrix of cosines


def probe(
    run_dir: Path,
    split: str = "test",
    overrides: tuple[str, ...] = (),
    *,
    neighbours: int = NEIGHBOURS,
    samples: int = SAMPLES,
    tell: Callable[[str], object] = lambda what: None,
    device: str | torch.device = "auto",
    devices: int = 1,
) -> dict[str, Any]:
    """Returns the accuracy of probes on the handoff and on the activity of each block, in a neutral pass.

    Probes are fitted on the training split. The penalty of the linear probe is chosen on the validation
    split (a tenth of the training split if the run has none). With ``split="val"`` the accuracy is thus
    measured on the samples that the penalty was chosen on.

    Args:
        run_dir: the run directory.
        split: the split to measure on: "test", "val" or "train" (the samples of the fit; no sample votes for
            itself).
        overrides: of the ``data`` part of the run's recipe: other files, or another data set of the same
            shape.
        neighbours: number of nearest training samples that vote.
        samples: number of training samples for the fit; if the split has more, a random choice by the run's
            seed.
        tell: called with the name of each block before it is probed.
        device: of the network and the neighbours, "auto" for a GPU if there is one, "cpu", "cuda" or
            "cuda:1". The linear probe is fitted on the CPU.
        devices: number of processes, which run the same program and take blocks in turn; all return the same
            numbers, those of one process.

    Returns:
        ``split, samples, data, fitted_on, neighbours, input, blocks``; ``input`` and for each block
        ``handoff`` and ``activity`` have ``features, linear, l2, neighbours``.

    Raises:
        UserError: this machine does not have the devices, or the run or its data cannot be read, or do not
            fit.
    """
    places = Places.of(device, devices)
    _check(overrides)
    if split == "all":
        raise UserError("--split all: probes are fitted on training samples; give test, val or train")
    predictor = Predictor(run_dir, device=places.device)
    if type(predictor.form.task) is not Classification:
        raise UserError(f"--probe: probes need one class a sample, not the task {predictor.form.task}")
    if not predictor.form.plain:
        raise UserError(f"--probe: probes need one input of floats, not {predictor.form.dtype}")
    data = open_data(predictor, overrides)
    if data.images.shape != predictor.form.shape:
        raise UserError(
            f"data: samples of {data.images.shape}; the run was trained on {predictor.form.shape}"
        )
    measured = choose(data, split)
    learn, choice = (data.train, data.val) if data.val is not None else cut(data.train, 0.1, 0)
    assert choice is not None, "the validation split, or a tenth of the training split"
    learn = some(learn, samples, predictor.recipe.seed)
    most = len(learn) - (split == "train")  # on the training split no sample votes for itself
    if len(np.unique(learn.y)) == 1 or (neighbours > most and neighbours == NEIGHBOURS):
        raise UserError(f"--samples {samples}: too few to fit probes with {neighbours} neighbours")
    if neighbours > most:
        raise UserError(f"--neighbours {neighbours}: only {most} samples can vote")
    splits = [learn, choice, learn if split == "train" else measured]

    def metrics(number: int, name: str | None) -> dict[str, Any]:
        tell(name or "input")
        features = [_features(predictor, data, s, name) for s in splits]
        return _metrics(features, neighbours, leave_out=split == "train", device=predictor.device)

    blocks = predictor.module.network.blocks
    names = [block.name for block in blocks if block.info is None or not block.info.auxiliary]
    with places.joined(predictor.recipe) as group:
        of_input, *of_blocks = in_turn([None, *names], metrics, group)
    return {
        "split": split,
        "samples": len(splits[-1]),
        "data": data.images.name,
        "fitted_on": len(learn),
        "neighbours": neighbours,
        "input": of_input["input"],
        "blocks": dict(zip(names, of_blocks, strict=True)),
    }


@dataclass(frozen=True)
class Features:
    """Features (N, F) of samples with classes (N,)."""

    x: Tensor
    y: Tensor


def linear(learn: Features, choice: Features, measured: Features) -> tuple[float, float]:
    """Returns the accuracy of a multinomial logistic regression on ``measured``, and its penalty.

    Features are standardised. The model is fitted on ``learn`` with each penalty of `STRENGTHS`. The penalty
    with the best accuracy on ``choice`` is selected; of equal ones the strongest.
    """
    mean, std = learn.x.mean(0), learn.x.std(0, correction=0)
    scaled = [((f.x - mean) / torch.where(std > 0, std, 1)).numpy() for f in (learn, choice, measured)]
    model = LogisticRegression(warm_start=True, max_iter=300)
    best, accuracy, penalty = -1.0, 0.0, 0.0
    for l2 in STRENGTHS:
        model.C = 1 / (l2 * len(learn.y))
        # with two BLAS threads these small products take ten times as long as with one
        with threadpool_limits(1, "blas"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # an early end of the fit is acceptable
            model.fit(scaled[0], learn.y.numpy())
        chosen = float(model.score(scaled[1], choice.y.numpy()))
        if chosen > best:
            best, accuracy, penalty = chosen, float(model.score(scaled[2], measured.y.numpy())), l2
    return accuracy, penalty


def nearest(
    learn: Features,
    asked: Features,
    k: int,
    *,
    leave_out: bool = False,
    device: torch.device | str = "cpu",
) -> float:
    """Returns the accuracy of a vote of the ``k`` samples of ``learn`` with the largest cosine.

    Of classes with the same number of votes, that with the greater sum of cosines wins.

    Args:
        learn: the samples that vote.
        asked: the samples to classify.
        k: number of votes.
        leave_out: ``asked`` is ``learn``, and no sample votes for itself.
        device: where cosines are computed.
    """
    memory, classes = normalize(learn.x.to(device)), int(learn.y.max()) + 1
    of_memory = learn.y.to(device)
    hits = 0
    for first in range(0, len(asked.y), _QUERIES_AT_ONCE):
        rows = slice(first, first + _QUERIES_AT_ONCE)
        near = normalize(asked.x[rows].to(device)) @ memory.T
        if leave_out:
            near.diagonal(first).fill_(-math.inf)
        cosines, index = near.topk(k)
        votes = torch.zeros(len(near), classes, device=device)
        votes.scatter_add_(
            1, of_memory[index], 1 + cosines / (4 * k)
        )  # all k cosines add up to half a vote at most: they only break ties
        hits += int((votes.argmax(1).cpu() == asked.y[rows]).sum())
    return hits / len(asked.y)


def _metrics(
    features: list[dict[str, Features]], neighbours: int, *, leave_out: bool, device: torch.device
) -> dict[str, Any]:
    learn, choice, measured = features
    made: dict[str, Any] = {}
    for part in learn:
        # The identity handoff is the activity: do not fit the same probes twice.
        if part == "activity" and torch.equal(learn[part].x, learn["handoff"].x):
            made[part] = dict(made["handoff"])
            continue
        accuracy, l2 = linear(learn[part], choice[part], measured[part])
        vote = nearest(learn[part], measured[part], neighbours, leave_out=leave_out, device=device)
        width = learn[part].x.shape[1]
        made[part] = {"features": width, "linear": accuracy, "l2": l2, "neighbours": vote}
    return made


@torch.no_grad()
def _features(predictor: Predictor, data: Data, split: Split, name: str | None) -> dict[str, Features]:
    """Returns ``handoff`` and ``activity`` of one block; for None the ``input`` of the network.

    The network runs once for each block: the features of all blocks together would not fit into memory.
    """
    rows: dict[str, list[Tensor]] = {}
    module = predictor.module
    for batch in data.loader(split, predictor.device, None):
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
            rows.setdefault(part, []).append(_flat(made.float()).cpu())
    y = torch.from_numpy(split.y)
    return {part: Features(torch.cat(parts), y) for part, parts in rows.items()}


def _flat(made: Tensor) -> Tensor:
    """(N, …) → (N, F). Large maps are averaged to the finest grid with at most `MOST_FEATURES` values."""
    if made.dim() == 4 and made[0].numel() > MOST_FEATURES:
        side = max(1, math.isqrt(MOST_FEATURES // made.shape[1]))
        made = adaptive_avg_pool2d(made, (min(side, made.shape[2]), min(side, made.shape[3])))
    return made.flatten(1)


def _check(overrides: tuple[str, ...]) -> None:
    another = any(re.match(r"data(\.kind|\.dataset)?=", override) for override in overrides)
    for override in overrides:
        if not re.match(r"data[.=]", override) or re.match(
            r"data\.(batch_size|batches|standardise)\b", override
        ):
            raise UserError(
                f"override {override!r}: only the data may change, such as data.root=… or data.kind=…; "
                "batch size and standardisation belong to the run"
            )
        if re.match(r"data\.(validation|split_seed|label_noise)\b", override) and not another:
            raise UserError(
                f"override {override!r}: the split of the run's own data belongs to the run; "
                "only with data.kind=… for another data set may it change"
            )
