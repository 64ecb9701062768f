"""The algorithm of two augmented views: blocks learn without labels, from pairs of views of each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ffcore.interfaces import Augmentation, Batch, Context, Network, Unlabelled, Views
from ffcore.options import ByName
from ffcore.parts import part


class TwoViews(Unlabelled):
    """Makes two views of every sample, "first" and "second", each augmented with random numbers of its own.

    For losses that compare the views, such as the penalty `nt-xent`; a block needs no goodness and no
    objective. Only readouts use the targets, and no gradient of them reaches the blocks. In a task without
    targets nothing is predicted; the headline is the loss.

    Args:
        augment: augmentations, applied in order.
    """

    examples = ({"augment": ["noise"]},)
    example_recipe: ClassVar[Mapping[str, Any]] = {
        "block": {"penalties": {"pair": "nt-xent"}, "handoff": "rms"},
        "readouts": {"readout": "softmax"},
    }

    def __init__(self, augment: Sequence[Augmentation | ByName] = ()) -> None:
        super().__init__()
        made = [part("augmentation", each, f"augment.{i}") for i, each in enumerate(augment)]
        self.augment = nn.ModuleList(made)

    def setup(self, context: Context) -> tuple[int, ...]:
        """See `ffcore.interfaces.Algorithm.setup`.

        Raises:
            ValueError: when there are targets, but no readout that learns them.
        """
        for augmentation in self.augment:
            augmentation.setup(context)  # type: ignore[operator]
        return super().setup(context)

    def views(self, batch: Batch, net: Network) -> Views:
        """Return N first views, then N second views."""
        n = batch.index.shape[0]
        if not isinstance(batch.x, Tensor):
            raise ValueError("two-views: samples should be one tensor, not several inputs")
        pair = torch.cat([self._augmented(batch), self._augmented(batch)])
        return Views(pair, ("first", "second"), (n, n), y=batch.y, rng=batch.random())

    def _augmented(self, batch: Batch) -> Tensor:
        x: Tensor = batch.x
        for augmentation in self.augment:
            x = augmentation(x, batch.random())  # every call takes new random numbers
        return x
