"""A whole local loss of a block, from its activity and the targets.

    g_nk = mean of h_n over the units of group k          K equal groups of units
    L    = mean_n −ln softmax(g_n)_y

N samples; K classes; h (N, U) activities, U a multiple of K.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Block, Context, LocalLoss, Out, Views


class Mine(LocalLoss):
    """Cross-entropy of the mean activity of each class's group of units."""

    reads_classes = True

    def setup(self, context: Context) -> None:
        """Note the number of classes.

        Raises:
            ValueError: when the units cannot be divided into groups.
        """
        self.classes = context.classes
        if context.shape[0] % self.classes:
            raise ValueError(f"{context.shape[0]} units are not a multiple of {self.classes} classes")

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return the terms of the loss, scalars by name."""
        assert views.y is not None, "`reads_classes`: the network refuses tasks without classes"
        activity = views.of(out.activity, "all")
        grouped = activity.reshape(len(activity), self.classes, -1).mean(2)
        return {"objective": F.cross_entropy(grouped, views.y)}
