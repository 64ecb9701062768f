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
        p = self.pixels
        height, width = x.shape[2:]
        corner = draw.integers("shift", 2 * p + 1, 2)
        # A view of all (2p + 1)² windows of the padded image, of which each sample copies one.
        windows = F.pad(x, (p, p, p, p)).unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(len(x), device=x.device), :, corner[:, 0], corner[:, 1]]
