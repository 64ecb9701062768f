"""Classification of samples, tokens and pixels.

N samples; n rows that are measured; K classes; P the positions of a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.errors import UserError
from ffcore.interfaces.task import IGNORED, Target, Task, resized
from ffcore.options import Size
from ffcore.tasks.generation import continued

_GIVEN, _NEW, _TEMPERATURE = 16, 200, 0.8
"""Given and new tokens of a continuation in the report, and its temperature."""


class Classification(Task):
    """One class a sample: y (N,) int64, 0..K−1.

    Args:
        classes: number of classes K.
    """

    target: ClassVar[Target] = "class"
    headline = "accuracy"
    contribution: ClassVar[str] = "sum"

    def __init__(self, classes: Size) -> None:
        self.classes = self.columns = classes

    def refuse(self, y: Any, samples: int, values: bool = True) -> None:
        """See `Task.refuse`."""
        if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.shape != (samples,):
            raise UserError(f"y: should be an int64 tensor ({samples},) of classes, not {given(y)}")
        if values:
            _refuse_classes(y, self.columns)

    def predict(self, scores: Tensor) -> Tensor:
        """(N, *P, K) → (N, *P) int64."""
        return scores.argmax(-1)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax."""
        return scores.softmax(-1)

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy."""
        return F.cross_entropy(scores, y)

    def measures(self) -> Mapping[str, Any]:
        """Accuracy, and the expected calibration error of the softmax in 15 bins."""
        from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

        return {
            "accuracy": MulticlassAccuracy(self.columns, average="micro", sync_on_compute=False),
            "calibration_error": MulticlassCalibrationError(self.columns, sync_on_compute=False),
        }


class _ByPosition(Classification):
    """One class a position: y (N, *P) int64, 0..K−1, or −100 where there is none."""

    contribution: ClassVar[str] = "last"

    def refuse(self, y: Any, samples: int, values: bool = True) -> None:
        """See `Task.refuse`."""
        if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.dim() < 2 or len(y) != samples:
            right = f"an int64 tensor ({samples}, positions) of classes, {IGNORED} where there is none"
            raise UserError(f"y: should be {right}, not {given(y)}")
        if values:
            known = y[y != IGNORED]
            if len(known):
                _refuse_classes(known, self.columns, ignores=True)


class TokenClassification(_ByPosition):
    """One class a token, such as the next token of a language model: y (N, T) int64, or −100.

    Args:
        classes: number of classes K; of a language model the size of its vocabulary.
        features: the dimension of an activity that holds the features of a token: -1 for (T, D), 0 for
            (D, T).
    """

    headline = "perplexity"
    lower: ClassVar[bool] = True

    def __init__(self, classes: Size, features: Literal[-1, 0] = -1) -> None:
        super().__init__(classes)
        if features not in (-1, 0):
            raise ValueError(f"features: {features}; should be -1 for tokens (T, D), or 0 for (D, T)")
        self.features = features

    def measures(self) -> Mapping[str, Any]:
        """Perplexity, its logarithm, the mean cross-entropy in nats, and accuracy."""
        from torchmetrics.classification import MulticlassAccuracy

        from ffcore.tasks.perplexity import CrossEntropy, Perplexity

        return {
            "perplexity": Perplexity(),
            "cross_entropy": CrossEntropy(),
            "accuracy": MulticlassAccuracy(self.columns, average="micro", sync_on_compute=False),
        }

    def shown(self, scores: Callable[[Tensor], Tensor], x: Any, y: Tensor) -> Mapping[str, Tensor]:
        """Return continuations of two test samples, if the targets are the next tokens.

        ``continued/tokens`` (2, 16 + 200) begins with 16 given ones, the array ``continued/given``.
        """
        is_tokens = isinstance(x, Tensor) and x.dtype == torch.int64 and x.shape == y.shape
        if not is_tokens or not torch.equal(x[:, 1:], y[:, :-1]):
            return {}
        given = x[:: max(1, len(x) // 2)][:2, :_GIVEN]
        tokens = continued(scores, given, _NEW, x.shape[1], _TEMPERATURE)
        return {"continued/tokens": tokens, "continued/given": torch.tensor(given.shape[1])}


class PixelClassification(_ByPosition):
    """One class a pixel: y (N, H, W) int64, or −100. Activities are images (C, h, w).

    Blocks of another resolution are judged at their own positions, and their goodness is repeated for the
    pixels of y.

    Args:
        classes: number of classes K.
        headline: the measure by which weights are selected: "iou", the mean intersection over union of the
            classes; "accuracy" of pixels; or "exact_match", the share of samples all of whose pixels are
            right, which is measured only then.
    """

    features = 0

    def __init__(self, classes: Size, headline: Literal["iou", "accuracy", "exact_match"] = "iou") -> None:
        super().__init__(classes)
        self.headline = headline

    def measurable(self, scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of pixels; for "exact_match" whole images, (N, K, H, W) and (N, H, W)."""
        if self.headline != "exact_match":
            return super().measurable(scores, y)
        return resized(scores, y).movedim(-1, 1).double().contiguous(), y

    def measures(self) -> Mapping[str, Any]:
        """Mean intersection over union of the classes, the accuracy of pixels, and perhaps exact matches."""
        from torchmetrics.classification import (
            MulticlassAccuracy,
            MulticlassExactMatch,
            MulticlassJaccardIndex,
        )

        own: dict[str, Any] = {"sync_on_compute": False, "ignore_index": IGNORED}
        exact = {"exact_match": MulticlassExactMatch(self.columns, **own)}
        return {
            **(exact if self.headline == "exact_match" else {}),
            "iou": MulticlassJaccardIndex(self.columns, **own),
            "accuracy": MulticlassAccuracy(self.columns, average="micro", **own),
        }


def as_task(task: Task | int) -> Task:
    """Return the task; a number of classes K is the classification of samples.

    >>> as_task(10).headline
    'accuracy'
    """
    return task if isinstance(task, Task) else Classification(task)


def given(y: Any) -> str:
    """Return the dtype and shape of targets, for messages."""
    return f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__


def _refuse_classes(y: Tensor, classes: int, ignores: bool = False) -> None:
    """Raise if classes are not 0..K−1; y is not empty."""
    low, high = int(y.min()), int(y.max())
    if not 0 <= low <= high < classes:
        ignored = f", or {IGNORED} for none" if ignores else ""
        raise UserError(f"y: classes run from {low} to {high}; they should be 0 to {classes - 1}{ignored}")
