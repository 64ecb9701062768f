"""Bodies without parameters: poolings, and the norm of inputs.

R rows; C channels of H by W places.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F


class AveragePool(nn.Module):
    """Means of squares of ``side`` places.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        side: side of the squares.

    Raises:
        ValueError: when an image is smaller than that.
    """

    def __init__(self, in_shape: tuple[int, ...], side: Annotated[int, Field(gt=1)] = 2) -> None:
        super().__init__()
        _check(in_shape, side)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, C, H / side, W / side)."""
        return F.avg_pool2d(x, self.side)


class MaxPool(AveragePool):
    """The largest of squares of ``side`` places.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        side: side of the squares.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, C, H / side, W / side)."""
        return F.max_pool2d(x, self.side)


class LayerNorm(nn.Module):
    """Each sample less its mean, divided by its deviation, over all its dimensions; no parameters."""

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        return F.layer_norm(x, x.shape[1:])


def _check(shape: tuple[int, ...], side: int) -> None:
    if len(shape) != 3:
        raise ValueError(f"pooling needs images of C×H×W, samples have shape {shape}")
    if min(shape[1:]) < side:
        raise ValueError(
            f"side: {side} is more than the image of {shape[1]}×{shape[2]} has left; use fewer poolings, or "
            "larger images"
        )
