"""Augmentations that move or hide pixels. Those of colour are in `augmentations_colour`.

N samples; C channels of H by W pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Augmentation, BatchRNG, Context
from ffcore.options import Count, Fraction, Natural


class _Spatial(Augmentation):
    """An augmentation that needs images."""

    def setup(self, context: Context) -> None:
        """Check the shape.

        Raises:
            ValueError: when samples are not images.
        """
        refuse_vectors(context.shape)


class Shift(_Spatial):
    """Shifts each image by a random number of pixels (a random crop after padding).

    Hinton 2022, section 3.3: two pixels give 25 different shifts.

    Args:
        pixels: maximum shift in each direction.
        border: values of the new pixels: zeros, or the image reflected at its outermost pixels.
    """

    def __init__(self, pixels: Natural = 2, border: Literal["zero", "reflect"] = "zero") -> None:
        super().__init__()
        self.pixels = pixels
        self.border = border

    def setup(self, context: Context) -> None:
        """Check the shape.

        Raises:
            ValueError: when samples are not images, or are too small for the shift or its reflection.
        """
        super().setup(context)
        _, height, width = context.shape
        least = min(height, width)
        if self.pixels > max(height, width):
            raise ValueError(f"shift moves images of {width}x{height} by {self.pixels} pixels, out of view")
        if self.border == "reflect" and self.pixels >= least:
            raise ValueError(
                f"shift reflects at most {least - 1} pixels of images of {width}x{height}, not {self.pixels}"
            )

    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        p = self.pixels
        height, width = x.shape[2:]
        corner = rng.integers("shift", 2 * p + 1, 2)
        # Pad on all sides, then crop at a random corner.
        padded = F.pad(x, (p, p, p, p), "reflect" if self.border == "reflect" else "constant")
        # A view of all (2p + 1)² windows of the padded image; only one window per sample is copied.
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(x.shape[0], device=x.device), :, corner[:, 0], corner[:, 1]]


class Flip(_Spatial):
    """Mirrors images horizontally.

    Args:
        probability: probability that an image is mirrored.
    """

    def __init__(self, probability: Fraction = 0.5) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        mirrored = rng.uniform("flip", 1, 1, 1) < self.probability
        return torch.where(mirrored, x.flip(-1), x)


class ResizedCrop(_Spatial):
    """Crops a random box of each image and resizes it bilinearly to the full size.

    The box is sampled as in torchvision's RandomResizedCrop: its area uniformly, its aspect ratio uniformly
    in the logarithm, its sides rounded to whole pixels, its position uniformly. Pixels outside the box are
    not used. There is one difference: torchvision tries up to ten times until a box fits, and then takes a
    central one; here a side that is too long is cut to that of the image. This makes boxes of nearly the
    whole image more frequent.

    Szegedy et al. 2015, "Going Deeper with Convolutions", arXiv:1409.4842.

    Args:
        scale: smallest and largest share of the area.
        ratio: smallest and largest width divided by height.
    """

    def __init__(
        self, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (0.75, 4 / 3)
    ) -> None:
        super().__init__()
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale={scale}: must be two shares of the area above 0 and up to 1, in order")
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"ratio={ratio}: must be two numbers above 0, in order")
        self.scale = scale
        self.ratio = ratio

    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        height, width = x.shape[2:]
        top, left, rows, columns = self.boxes(height, width, rng)
        across = _grid(left, columns, width, x)[:, None, :].expand(-1, height, -1)
        down = _grid(top, rows, height, x)[:, :, None].expand(-1, -1, width)
        return F.grid_sample(
            x, torch.stack((across, down), dim=3), padding_mode="border", align_corners=False
        )

    def boxes(self, height: int, width: int, rng: BatchRNG) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return first row, first column, rows and columns of each box, (N, 1) whole numbers as floats."""
        # One call for all numbers: each call generates those of the global batch.
        area, shape, down, across = rng.uniform("resized-crop", 4, 1).unbind(1)
        low, high = self.scale
        area = (low + (high - low) * area) * (height * width)
        narrow, wide = self.ratio
        shape = narrow * (wide / narrow) ** shape
        rows = (area / shape).sqrt().round().clamp(1, height)
        columns = (area * shape).sqrt().round().clamp(1, width)
        # a number just below 1 times a side may be rounded up to the side
        top = (down * (height - rows + 1)).floor().minimum(height - rows)
        left = (across * (width - columns + 1)).floor().minimum(width - columns)
        return top, left, rows, columns


class Cutout(_Spatial):
    """Sets a random square of each image to 0 (DeVries and Taylor 2017).

    arXiv:1708.04552. The centre is uniform in the image; the square is cut at the border.

    Args:
        side: side of the square in pixels.
        probability: probability that an image is changed.
    """

    def __init__(self, side: Count = 8, probability: Fraction = 1.0) -> None:
        super().__init__()
        self.side = side
        self.probability = probability

    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        height, width = x.shape[2:]
        chance, down, across = rng.uniform("cutout", 3, 1).unbind(1)
        rows, columns = self._hidden(down, height), self._hidden(across, width)
        rows = rows & (chance < self.probability)
        return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], 0, x)

    def _hidden(self, centre: Tensor, length: int) -> Tensor:
        """Return which positions of an axis the square covers, (N, length), for (N, 1) in [0, 1)."""
        first = (centre * length).floor().clamp(max=length - 1) - self.side // 2
        position = torch.arange(length, device=centre.device)
        return (position >= first) & (position < first + self.side)


def refuse_vectors(shape: tuple[int, ...]) -> None:
    """Raise unless samples have the shape (C, H, W).

    Raises:
        ValueError: when they have another shape.
    """
    if len(shape) != 3:
        raise ValueError(f"expected images (C, H, W); the samples have the shape {shape}")


def _grid(first: Tensor, count: Tensor, length: int, like: Tensor) -> Tensor:
    """Return ``length`` positions, evenly spaced over ``count`` pixels from ``first``, (N, length).

    Positions are in the coordinates of `grid_sample`, from −1 to 1 over the image.
    """
    middle = torch.arange(length, device=like.device, dtype=like.dtype) + 0.5
    position = middle * (count / length).to(like.dtype)
    # not beyond the centres of the first and last pixel, so that no pixel outside the box is mixed in
    position = first + position.clamp(min=0.5).minimum(count - 0.5)
    return 2 * position / length - 1
