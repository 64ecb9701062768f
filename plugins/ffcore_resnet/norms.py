"""Normalisations between convolutions: they take off the mean activity, which is the goodness.

R rows; C channels of H by W places. None has parameters: nothing would train them.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import Component, Context
from ffcore.options import Count, Positive


class GroupNorm(Component):
    """Each group of channels of a sample less its mean, divided by its deviation (DeeperForward).

    Sun et al., ICLR 2025: with one group a class the mean goodness of each class is gone.

    Args:
        groups: groups of channels; None for one a class.
    """

    def __init__(self, groups: Count | None = None) -> None:
        super().__init__()
        self.groups = groups
        self.classes = 1

    def setup(self, context: Context) -> None:
        """Learn the number of classes.

        Raises:
            ValueError: when the groups do not divide the channels.
        """
        self.classes = context.classes
        count = self.groups or context.classes
        if context.shape[0] % count:
            low = context.shape[0] // count * count
            raise ValueError(
                f"group-norm: {count} groups do not divide {context.shape[0]} channels; {low or count} or "
                f"{low + count} would do"
            )

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, *places) → the same shape."""
        return F.group_norm(x, self.groups or self.classes)


class InstanceNorm(nn.Module):
    """Each channel of a sample less its mean, divided by its deviation; single places stay as they are.

    It takes off every channel's own mean, and so all that a goodness of pooled channels knows (CAW).

    Args:
        eps: added to variances.
    """

    def __init__(self, eps: Positive = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → the same shape."""
        places = x[0, 0].numel()
        if places == 1:
            return x
        if torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
            return F.group_norm(x, x.shape[1], eps=self.eps)
        # Channels last, torch's own takes up to twenty times as long as these products with ones.
        rows = x.permute(0, 2, 3, 1).reshape(len(x), places, -1)
        average = rows.new_full((len(x), 1, places), 1 / places)
        made = rows - torch.bmm(average, rows)
        deviation = torch.bmm(average, made.square()).add_(self.eps).rsqrt_()
        return made.mul_(deviation).view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)


class BatchNorm(nn.Module):
    """Each channel less its mean over the batch, divided by its deviation; running ones while predicting.

    Goodness leaks through it: a sample keeps what sets it apart from the batch; backpropagation may use it.

    Args:
        in_shape: (C, H, W) of one activity; the builder supplies it.
    """

    def __init__(self, in_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_shape[0], affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → the same shape."""
        return cast(Tensor, self.norm(x))
