"""Negatives with wrong hypotheses.

N samples; K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import BatchRNG, Context, NegativeData


class _WrongLabels(NegativeData):
    """The same sample with a wrong label."""

    classes: int

    def setup(self, context: Context) -> None:
        """Store the number of classes.

        Raises:
            ValueError: when there is only one class.
        """
        self.classes = context.classes
        if self.classes < 2:
            raise ValueError(f"wrong labels need at least 2 classes, the data has {self.classes}")


class WrongLabel(_WrongLabels):
    """A wrong class, uniformly from the K − 1 wrong classes."""

    def forward(
        self, x: Tensor, y: Tensor | None, probs: Callable[[], Tensor], rng: BatchRNG
    ) -> tuple[Tensor, Tensor | None]:
        """Return the samples with wrong hypotheses (N,)."""
        assert y is not None, "wrong labels need labelled samples"
        return x, (y + 1 + rng.integers("wrong-label", self.classes - 1)) % self.classes


class Hard(_WrongLabels):
    """A wrong class, sampled from the readout's distribution (Hinton 2022, 3.3)."""

    needs_probabilities: ClassVar[bool] = True

    def forward(
        self, x: Tensor, y: Tensor | None, probs: Callable[[], Tensor], rng: BatchRNG
    ) -> tuple[Tensor, Tensor | None]:
        """Return the samples with wrong hypotheses (N,), sampled by their probability."""
        assert y is not None, "wrong labels need labelled samples"
        # (N, K − 1) without the true class, so that rounding can never select it.
        others = (y.unsqueeze(1) + torch.arange(1, self.classes, device=y.device)) % self.classes
        # The minimum keeps wrong classes possible if the readout is certain of the true class.
        reach = probs().float().clamp_min(1e-8).gather(1, others).cumsum(1)
        place = rng.uniform("hard-label").unsqueeze(1) * reach[:, -1:]
        pick = (reach <= place).sum(1, keepdim=True).clamp_max_(self.classes - 2)
        return x, others.gather(1, pick).squeeze(1)
