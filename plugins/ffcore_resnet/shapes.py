"""Bodies without parameters: pooling and layer norm.

R rows; C channels of H by W pixels.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F


class AveragePool(nn.Module):
    """Average pooling over squares of side × side pixels.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        side: side of the squares.

    Raises:
        ValueError: when an image is smaller than a square.
    """

    def __init__(self, in_shape: tuple[int, ...], side: Annotated[int, Field(gt=1)] = 2) -> None:
        super().__init__()
        _check(in_shape, side)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, C, H / side, W / side)."""
        return F.avg_pool2d(x, self.side)


class MaxPool(AveragePool):
    """Max pooling over squares of side × side pixels.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        side: side of the squares.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, C, H / side, W / side)."""
        return F.max_pool2d(x, self.side)


class LayerNorm(nn.Module):
    """Layer norm over all dimensions of a sample, without parameters."""

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape)."""
        return F.layer_norm(x, x.shape[1:])


def _check(shape: tuple[int, ...], side: int) -> None:
    if len(shape) != 3:
        raise ValueError(f"pooling needs images of C×H×W, samples have shape {shape}")
    if min(shape[1:]) < side:
        raise ValueError(
            f"side: {side} is larger than the image of {shape[1]}×{shape[2]} pixels; use fewer poolings, or "
            "larger images"
        )
