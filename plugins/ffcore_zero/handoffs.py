"""Nonlinearity and pooling between blocks whose losses read the activity before the nonlinearity."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.options import Size


class ReLU(nn.Module):
    """ReLU, then max pooling of images.

    Args:
        pool: side of the pooling; 1 for none. Activities that are no images are not pooled.
    """

    examples = ({"pool": 2},)

    def __init__(self, pool: Size = 1) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → the same shape, or (R, C, H / pool, W / pool)."""
        made = torch.relu(x)
        return F.max_pool2d(made, self.pool) if self.pool > 1 and x.dim() == 4 else made
