"""Several labels a sample, and real numbers.

N samples; n rows that are measured; K labels or values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from ffcore.errors import UserError
from ffcore.interfaces.task import Target, Task
from ffcore.options import Size
from ffcore.tasks.classification import given


class MultiLabel(Task):
    """Any number of labels a sample: y (N, K) of zeros and ones.

    Args:
        labels: number of labels K.
    """

    target: ClassVar[Target] = "labels"
    headline = "average_precision"

    def __init__(self, labels: Size) -> None:
        self.labels = self.columns = labels

    def refuse(self, y: Any, samples: int, values: bool = True) -> None:
        """See `Task.refuse`."""
        right = f"a tensor ({samples}, {self.columns}) of zeros and ones"
        if not isinstance(y, Tensor) or y.shape != (samples, self.columns) or y.is_complex():
            raise UserError(f"y: should be {right}, not {given(y)}")
        if values and not ((y == 0) | (y == 1)).all():
            raise UserError(f"y: has values other than 0 and 1; it should be {right}")

    def predict(self, scores: Tensor) -> Tensor:
        """(N, K) → (N, K) int64 of zeros and ones: whether the score is positive."""
        return (scores > 0).long()

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the logistic function of each score."""
        return scores.sigmoid()

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        """Return the mean binary cross-entropy of all labels."""
        return F.binary_cross_entropy_with_logits(scores, y.to(scores.dtype))

    def measured(self, rows: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores in (0, 1) in the same order, 1/2 for 0: of large ones the logistic function is 1."""
        return 0.5 + rows.atan() / math.pi, y.long()

    def measures(self) -> Mapping[str, Any]:
        """Mean over the labels of average precision and of F1."""
        from torchmetrics.classification import MultilabelAveragePrecision, MultilabelF1Score

        return {
            "average_precision": MultilabelAveragePrecision(self.columns, sync_on_compute=False),
            "f1": MultilabelF1Score(self.columns, sync_on_compute=False),
        }


class Regression(Task):
    """Real numbers: y (N, K) floats; (N,) for one value.

    With ``mean`` and ``std`` losses read (y − mean)/std. Targets, predictions and measures keep their units.
    Data sets with ``scale: all`` take both from the training split.

    Args:
        values: numbers K of a sample.
        mean: mean of each value; None for 0.
        std: standard deviation of each value; None for 1.

    Raises:
        ValueError: when there is not a finite number for each value, or a standard deviation is not above 0.
    """

    target: ClassVar[Target] = "values"
    headline = "r2"

    def __init__(
        self, values: Size = 1, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> None:
        self.values = self.columns = values
        self.mean = None if mean is None else list(mean)
        self.std = None if std is None else list(std)
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and len(numbers) != values:
                raise ValueError(f"{name}: {len(numbers)} numbers for {values} values")
            if numbers is not None and not all(map(math.isfinite, numbers)):
                raise ValueError(f"{name}: should be finite numbers, not {numbers}")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std: should be above 0, not {min(self.std)}")

    @property
    def standardises(self) -> bool:
        """Whether losses read other numbers than the targets."""
        return self.mean is not None or self.std is not None

    def refuse(self, y: Any, samples: int, values: bool = True) -> None:
        """See `Task.refuse`."""
        shapes = [(samples, self.columns)] + ([(samples,)] if self.columns == 1 else [])
        if not isinstance(y, Tensor) or not y.is_floating_point() or tuple(y.shape) not in shapes:
            right = " or ".join(map(str, shapes))
            raise UserError(f"y: should be floats {right}, not {given(y)}")
        if values and not y.isfinite().all():
            raise UserError("y: has values that are not finite (NaN or infinite)")

    def predict(self, scores: Tensor) -> Tensor:
        """(N, K) → (N, K): the scores in the units of y."""
        return self._in_units(scores)

    def standardised(self, y: Tensor) -> Tensor:
        """Return (y − mean)/std."""
        if not self.standardises:
            return y
        mean, std = self._moments(y)
        return (y.reshape(-1, self.columns) - mean) / std

    def measured(self, rows: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return both in the units of y."""
        return self._in_units(rows), self._in_units(y)

    def _in_units(self, values: Tensor) -> Tensor:
        if not self.standardises:
            return values
        mean, std = self._moments(values)
        return values * std + mean

    def _moments(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = self.mean or [0.0] * self.columns, self.std or [1.0] * self.columns
        return like.new_tensor(mean), like.new_tensor(std)

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        """Return the mean squared error."""
        return F.mse_loss(scores, y.reshape(scores.shape).to(scores.dtype))

    def rows(self, scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """See `Task.rows`; y (N,) becomes (N, 1)."""
        return scores, y.reshape(scores.shape)

    def measures(self) -> Mapping[str, Any]:
        """R² as a mean over the values, the mean absolute error and the root of the mean squared error."""
        from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

        return {
            "r2": R2Score(sync_on_compute=False),
            "mae": MeanAbsoluteError(sync_on_compute=False),
            "rmse": MeanSquaredError(squared=False, sync_on_compute=False),
        }
