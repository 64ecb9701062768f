"""Augmentations of images.

N samples; C channels of H by W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Augmentation, Draw


class Shift(Augmentation):
    """Moves each image by its own whole number of pixels in both directions; what comes in is 0.

    Hinton 2022, section 3.3: two pixels make 25 different shifts.

    Args:
        pixels: the largest shift to each side.
    """

    def __init__(self, pixels: int = 2) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        n, p = len(x), self.pixels
        height, width = x.shape[2:]
        padded = F.pad(x, (p, p, p, p))
        corner = draw.integers("shift", 2 * p + 1, 2)
        rows = corner[:, :1] + torch.arange(height, device=x.device)
        columns = corner[:, 1:] + torch.arange(width, device=x.device)
        sample = torch.arange(n, device=x.device)
        # Channels go last while three indices pick (sample, row, column).
        picked = padded.movedim(1, 3)[sample[:, None, None], rows[:, :, None], columns[:, None, :]]
        return picked.movedim(3, 1).contiguous()
