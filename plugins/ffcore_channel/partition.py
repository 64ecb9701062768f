"""Goodness of each class, from a fixed partition of the channels.

    g_rk = 1/(S P) Σ_{c in group k} Σ_p h_rcp^q        q: the option ``power``

R rows; C channels; K classes; S = C/K channels of a group; P positions of a channel; h (R, C, *); g (R, K).
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
    """Mean over a fixed group of channels per class, g_k = mean of h^p in group k.

    Group k has S = C/K neighbouring channels. p = 1 is the goodness of DeeperForward (Sun et al., ICLR 2025),
    p = 2 that of CwC (Papachristodoulou et al. 2024, arXiv:2312.12668). With a hierarchy (HCL-FF, Yao et al.
    2026, arXiv:2605.24797) an early block learns super-classes; the goodness of a super-class is the mean of
    its classes'. If C is a multiple of the number of super-classes but not of K, each super-class has one
    group, as in CwC on CIFAR-100.

    Args:
        power: p.
        hierarchy: levels from coarse to fine, each with the super-class of every class; the classes follow as
            the last level. "data": the one level of the data set. None: all blocks learn the classes.
        pace: how levels depend on the block. even: as in the paper; each-block: one level per block.
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
        # Not persistent: it follows from the classes, and is made in setup.
        self.register_buffer("_average", None, persistent=False)

    def setup(self, context: Context) -> None:
        """Divide the channels into groups.

        Raises:
            ValueError: when they cannot be divided evenly, or the hierarchy does not fit the classes.
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
                f"be divided evenly by {columns} {'classes' if columns == classes else 'super-classes'} "
                f"(K = {classes}); the nearest valid widths are {right}"
            )

    def forward(self, activity: Tensor) -> Tensor:
        """(R, C, *) → (R, K), or (R, columns)."""
        each = means(activity.square() if self.power == 2 else activity)
        grouped = each.view(each.shape[0], self.groups, -1).mean(2)
        return grouped if self._average is None else product(grouped, self._means(grouped.dtype))

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor:
        """Return ``up`` of the channel's group · p h^(p − 1)/(S P); for p = 1 an expanded view."""
        grouped = up if self._average is None else product(up, self._means(up.dtype).T)
        rows, channels = activity.shape[:2]
        size = channels // self.groups
        grouped = grouped * (self.power / (activity[0].numel() // self.groups))
        each = grouped.unsqueeze(2).expand(-1, -1, size).reshape(rows, channels).to(activity.dtype)
        # No copy for p = 1: the derivative is the same at all positions.
        each = each.view(rows, channels, *(1,) * (activity.dim() - 2))
        return each.expand_as(activity) if self.power == 1 else activity * each

    def _means(self, kind: torch.dtype) -> Tensor:
        """Return the matrix (K, columns) of the mean over the classes of each column."""
        average, columns = self._average, self.column_of
        assert average is not None, "made in setup, for blocks that learn super-classes"
        assert columns is not None, "made in setup, for blocks that learn super-classes"
        # made anew in float64: a conversion would keep the rounding of 1/3
        return average if kind != torch.float64 else _average(columns, average.shape[1], kind)

    def assignment(self) -> Tensor:
        """Return (C, columns): 1 if a channel belongs to a column, else 0."""
        own = torch.eye(self.groups) if self._average is None else (self._average > 0).float()
        return own.repeat_interleave(self.channels // self.groups, 0)

    def arrays(self) -> dict[str, Tensor]:
        """Return ``assignment``, for reports."""
        return {"assignment": self.assignment()}


def _average(columns: Tensor, number: int, kind: torch.dtype = torch.float32) -> Tensor:
    member = torch.nn.functional.one_hot(columns, number).to(kind)
    return member / member.sum(0)
