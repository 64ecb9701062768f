"""Goodness of each class, from channels that were dealt to the classes once and for all.

R rows; C channels; K classes; S channels of a group; P places of a channel.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from ffcore.interfaces import Context, Goodness
from ffcore.interfaces.goodness import Form
from ffcore_channel.levels import Hierarchy, Pace, super_classes
from ffcore_channel.pooling import means, product


class ChannelPartition(Goodness):
    """g_k = mean of h^p over channels and places of the k-th group of S = C/K neighbouring channels.

    p = 1 is DeeperForward's goodness (Sun et al., ICLR 2025), p = 2 that of CwC (Papachristodoulou et al.
    2024, arXiv:2312.12668). With a hierarchy (HCL-FF, Yao et al. 2026, arXiv:2605.24797) a block tells the
    super-classes of its depth apart: the goodness of a super-class is the mean of its classes'. Where C is no
    multiple of K but of the number of super-classes, these get groups of their own, as in CwC on CIFAR-100.

    Args:
        power: p.
        hierarchy: levels from coarse to fine, each with the super-class of every class; the classes follow
            as the last one. "data": the one level that the data has. None: all blocks tell classes apart.
        pace: how levels go with depth; even: as in the paper; each-block: one level further with every block.
    """

    form: ClassVar[Form] = "class"
    _average: Tensor | None
    examples = ({"power": 2},)

    def __init__(
        self, power: Literal[1, 2] = 1, hierarchy: Hierarchy | None = None, pace: Pace = "even"
    ) -> None:
        super().__init__()
        self.power = power
        self.hierarchy = hierarchy
        self.pace: Pace = pace
        self.channels = self.groups = 0
        self.register_buffer("_average", None, persistent=False)

    def setup(self, context: Context) -> None:
        """Deal the channels out.

        Raises:
            ValueError: when they cannot be dealt out evenly, or the hierarchy does not fit the classes.
        """
        self.channels = channels = context.shape[0]
        classes = context.classes
        self.column_of = super_classes(self.hierarchy, self.pace, context)
        columns = classes if self.column_of is None else int(self.column_of.max()) + 1
        if channels % classes == 0:
            self.groups = classes
            self._average = None if self.column_of is None else _average(self.column_of, columns)
        elif channels % columns == 0:
            self.groups = columns
        else:
            least = max(1, channels // columns) * columns
            right = f"{least}" if least > channels else f"{least} or {least + columns}"
            raise ValueError(
                f"goodness channel-partition: block {context.name} has C = {channels} channels, which cannot "
                f"be dealt evenly to {columns} {'classes' if columns == classes else 'super-classes'} "
                f"(K = {classes}); the nearest right widths are {right}"
            )

    def forward(self, activity: Tensor) -> Tensor:
        """(R, C, *) → (R, K), or (R, columns)."""
        each = means(activity.square() if self.power == 2 else activity)
        grouped = each.view(len(each), self.groups, -1).mean(2)
        return grouped if self._average is None else product(grouped, self._average)

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """``up`` of the channel's group · p h^(p − 1)/(S P); for p = 1 a view, with one number a channel."""
        grouped = up if self._average is None else up @ self._average.T
        rows, channels = activity.shape[:2]
        size = channels // self.groups
        grouped = grouped * (self.power / (activity[0].numel() // self.groups))
        each = grouped.unsqueeze(2).expand(-1, -1, size).reshape(rows, channels).to(activity.dtype)
        each = each.view(rows, channels, *(1,) * (activity.dim() - 2))
        return each.expand_as(activity) if self.power == 1 else activity * each

    def assignment(self) -> Tensor:
        """(C, columns): 1 where a channel counts for a column, else 0."""
        own = torch.eye(self.groups) if self._average is None else (self._average > 0).float()
        return own.repeat_interleave(self.channels // self.groups, 0)

    def arrays(self) -> dict[str, Tensor]:
        """What reports draw: ``assignment``."""
        return {"assignment": self.assignment()}


def _average(columns: Tensor, number: int) -> Tensor:
    """(K, columns): the matrix that takes the mean over the classes of each column."""
    member = torch.nn.functional.one_hot(columns, number).float()
    return member / member.sum(0)
