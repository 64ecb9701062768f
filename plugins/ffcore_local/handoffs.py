"""Dropout between blocks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.options import BelowOne


class ChannelDropout(nn.Module):
    """Sets whole channels to 0 during learning, and scales the others by 1/(1 − p).

    The block's own loss sees the activity before dropout. Dense activities lose single units.

    Args:
        p: probability that a channel is set to 0.
    """

    def __init__(self, p: BelowOne = 0.2) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, *positions) → the same shape."""
        if x.dim() == 2:
            return F.dropout(x, self.p, self.training)
        if not self.training or self.p == 0:
            return x
        # one factor a channel; torch's dropout2d copies channels-last images
        keeps = F.dropout(x.new_ones(*x.shape[:2], *(1,) * (x.dim() - 2)), self.p)
        return x * keeps
