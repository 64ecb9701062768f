"""The algorithm of two augmented views: blocks learn without labels, from pairs of views of each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ffcore.interfaces import Algorithm, Augmentation, Batch, Context, Network, Source, Views
from ffcore.interfaces.goodness import Form
from ffcore.interfaces.task import Target
from ffcore.options import ByName
from ffcore.parts import part


class TwoViews(Algorithm):
    """Makes two views of every sample, "first" and "second", each augmented with random numbers of its own.

    For losses that compare the views, such as the penalty `nt-xent`; a block needs no goodness and no
    objective. Only readouts use the targets, and no gradient of them reaches the blocks. In a task without
    targets nothing is predicted; the headline is the loss.

    Args:
        augment: augmentations, applied in order.
    """

    accepts: ClassVar[frozenset[Form]] = frozenset({"energy", "class"})
    reads: ClassVar[frozenset[Target]] = frozenset({"class", "labels", "values", "none"})
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
        if not context.readouts and (context.task is None or context.task.target != "none"):
            raise ValueError(
                "only a readout learns targets: add one under `readouts`, or set the task to none"
            )
        for augmentation in self.augment:
            augmentation.setup(context)  # type: ignore[operator]
        return context.shape

    def sources(self, net: Network) -> tuple[Source, ...]:
        """Return the readouts."""
        return tuple(source for source in net.sources if source.role == "readout")

    def evidence(self, x: Tensor, net: Network) -> list[Tensor]:
        """Return an empty list, since blocks give no evidence."""
        return []

    def views(self, batch: Batch, net: Network) -> Views:
        """Return N first views, then N second views."""
        n = len(batch.index)
        if not isinstance(batch.x, Tensor):
            raise ValueError("two-views: samples should be one tensor, not several inputs")
        pair = torch.cat([self._augmented(batch), self._augmented(batch)])
        return Views(pair, ("first", "second"), (n, n), y=batch.y, rng=batch.random())

    def _augmented(self, batch: Batch) -> Tensor:
        x: Tensor = batch.x
        for augmentation in self.augment:
            x = augmentation(x, batch.random())  # every call takes new random numbers
        return x
