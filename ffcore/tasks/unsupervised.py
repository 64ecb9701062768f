"""Learning without targets. N samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces.task import Target, Task
from ffcore.tasks.classification import given


class Unsupervised(Task):
    """No targets: y is None; in batches it is a tensor (N, 0).

    The score of a sample, (N, 1), is the mean goodness of the blocks, for finding outliers. Weights are
    compared by the mean local loss of the validation samples.
    """

    target: ClassVar[Target] = "none"
    headline = "loss"
    lower: ClassVar[bool] = True
    contribution: ClassVar[str] = "mean"
    columns = 1

    def refuse(self, y: Any, samples: int, values: bool = True) -> None:
        """See `Task.refuse`."""
        if not isinstance(y, Tensor) or y.shape != (samples, 0) or y.is_complex():
            raise UserError(f"y: should be None, or an empty tensor ({samples}, 0), not {given(y)}")

    def predict(self, scores: Tensor) -> Tensor:
        """(N, 1) → (N, 1): the scores."""
        return scores

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        """Raise a UserError: there is nothing that a readout or a head could learn."""
        raise UserError("the task has no targets, so readouts and heads have nothing to learn from")

    def measures(self) -> Mapping[str, Any]:
        """Return none: what is measured is the loss of the blocks."""
        return {}
