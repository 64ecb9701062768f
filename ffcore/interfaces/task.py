"""The contract of tasks: what the targets are, and what a network predicts of them.

    task                  targets y                     scores            prediction
    classification        (N,) classes                  (N, K)            argmax_k
    by position           (N, *P) classes, or −100      (N, *P, K)        argmax_k at every position
    labels                (N, K) zeros and ones         (N, K)            score > 0
    values                (N, K) real numbers           (N, K)            the scores
    none                  None, stored as (N, 0)        (N, 1)            the scores

N samples; K columns: classes, labels or values; P the positions of a sample: (T,) tokens or (H, W) pixels.

In a task by position every position is a row of its own for a goodness of form "class", its objective, a
readout and the measures: an activity (R, T, D) is judged as R·T rows (D,), and an image (R, C, H, W) as R·H·W
rows (C,). Positions with the target −100, such as padding, are left out.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.errors import UserError
from ffcore.interfaces.views import Views

Target = Literal["class", "labels", "values", "none"]
"""What a target is: one of K classes, any number of K labels, K real numbers, or nothing."""

IGNORED = -100
"""Target of a position without a class; torch's cross-entropy ignores the same value."""


class Task(ABC):
    """What the targets of a data set are, and how predictions are made of scores and measured.

    Attributes:
        target: what the targets are.
        headline: the measure by which weights are compared and selected; without targets "loss".
        lower: whether smaller values of the headline are better.
        contribution: kind of the layer contribution if none is given.
        columns: number of columns K of scores.
        features: for a task by position, the dimension of one activity that holds its features: -1 for tokens
            (T, D), 0 for images (C, H, W). None: a sample has one target.
    """

    target: ClassVar[Target]
    headline: str
    lower: ClassVar[bool] = False
    contribution: ClassVar[str] = "last"
    columns: int
    features: int | None = None

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.options().items())
        return f"{type(self).__name__}({given})"

    def __str__(self) -> str:
        """Return the name of the class, for messages."""
        return type(self).__name__

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments, which are attributes of the same names."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    @abstractmethod
    def refuse(self, y: Any, samples: int, values: bool = True) -> None:
        """Raise if the targets of ``samples`` samples do not fit the task.

        Args:
            y: the targets.
            samples: number of samples N.
            values: whether to check the values too, which waits for a GPU.

        Raises:
            UserError: with what was given and what would be right.
        """

    @abstractmethod
    def predict(self, scores: Tensor) -> Tensor:
        """Return the predictions of scores (N, *P, K); see the table of this module."""

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return probabilities of scores (N, *P, K). They are not calibrated.

        Raises:
            UserError: when predictions have no probabilities.
        """
        raise UserError(f"predict_proba: the predictions of the task {type(self).__name__} have none")

    @abstractmethod
    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        """Return the loss of readouts and heads: (n, K) scores and their targets → a scalar, a mean."""

    @abstractmethod
    def measures(self) -> Mapping[str, Any]:
        """Return new torchmetrics by name. Each is updated with what `measurable` returns.

        The headline is one of them, unless there are no targets. Positions are rows, and ignored ones are
        left out.
        """

    def shown(self, scores: Callable[[Tensor], Tensor], x: Any, y: Tensor) -> Mapping[str, Tensor]:
        """Return arrays for the report of a trained network, by name; the default is none.

        Args:
            scores: the network, from samples to combined scores.
            x: (N, *shape) test samples.
            y: their targets.
        """
        return {}

    def standardised(self, y: Tensor) -> Tensor:
        """Return targets as a `Batch` holds them and losses read them: the targets themselves."""
        return y

    def measured(self, rows: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the measures read of scores (n, K) and the targets of a batch: both themselves."""
        return rows, y

    def precise_measures(self) -> dict[str, Any]:
        """Return new measures in float64: sums of squares of large targets lose their digits in float32."""
        made = dict(self.measures())
        for measure in made.values():
            measure.set_dtype(torch.float64)
        return made

    def measurable(self, scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `precise_measures` are updated with, of scores (N, *P, K) and targets."""
        rows, targets = self.rows(scores, y)
        rows, targets = rows.double(), targets.double() if targets.is_floating_point() else targets
        return self.measured(rows.contiguous(), targets.contiguous())  # torchmetrics makes views of them

    def rows(self, scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows that are measured: scores (N, *P, K), y → (n, K), targets of these rows."""
        if self.features is None:
            return scores, y
        flat, targets = resized(scores, y).flatten(0, -2), y.flatten()
        kept = targets != IGNORED
        return flat[kept], targets[kept]


def targets_of(task: Task, y: Any, x: Tensor) -> Any:
    """Return targets as a batch holds them: of a task without targets an empty tensor (N, 0)."""
    return x.new_empty(x.shape[0], 0, dtype=torch.float32) if task.target == "none" else y


def positioned(judge: Callable[[Tensor], Tensor], activity: Tensor, features: int) -> Tensor:
    """Return the goodness of every position, (R, *shape) → (R, *P, K).

    Args:
        judge: a goodness of rows, (n, D) → (n, K).
        activity: (R, T, D) with ``features`` −1, or (R, C, H, W) with 0.
        features: the dimension of one activity that holds the features of a position.
    """
    by_row = activity if features == -1 else activity.movedim(features + 1, -1)
    made = judge(by_row.flatten(0, -2))
    fits = isinstance(made, Tensor) and made.dim() == 2 and len(made) == by_row.shape[:-1].numel()
    return made.reshape(*by_row.shape[:-1], made.shape[-1]) if fits else made  # the caller checks the shape


def resized(scores: Tensor, y: Tensor) -> Tensor:
    """Return scores (N, *p, K) at the positions of y (N, *P): the nearest one each.

    Raises:
        UserError: when they have another number of dimensions, or y is no image.
    """
    positions, wanted = scores.shape[1:-1], y.shape[1:]
    if positions == wanted:
        return scores
    if len(positions) != 2 or len(wanted) != 2:
        raise UserError(
            f"y: targets at positions {tuple(wanted)}, but a block has an activity of positions "
            f"{tuple(positions)}; only images are resized"
        )
    return F.interpolate(scores.movedim(-1, 1), size=tuple(wanted)).movedim(1, -1)


def same_positions(evidence: list[Tensor]) -> list[Tensor]:
    """Return the evidence of all blocks, (N, *P, K) each, at the positions of the largest one."""
    if not evidence:
        return evidence
    largest = max(evidence, key=lambda each: each[0, ..., 0].numel())
    return [resized(each, largest[..., 0]) for each in evidence]


def by_position(goodness: Tensor, views: Views) -> tuple[Tensor, Views]:
    """Return goodness and views with a row for each position that has a target.

    Args:
        goodness: (R, *P, K) of one view.
        views: the views of the pass; the result has only what objectives read.

    Returns:
        (n, K) and views of n rows, whose ``x`` is that goodness.
    """
    y = views.y
    assert y is not None, "a task by position has targets"
    first = resized(goodness[: views.samples], y).flatten(0, -2)
    targets = y.flatten()
    kept = targets != IGNORED
    rows, targets = first[kept], targets[kept]
    n = rows.shape[0]
    return rows, replace(
        views, x=rows, roles=views.roles[:1], sizes=(n,), y=targets, hypothesis=None, extra={}, upstream=[]
    )
