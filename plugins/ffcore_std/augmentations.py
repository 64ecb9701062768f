"""Augmentations that move or hide pixels; those of colour are in `augmentations_colour`.

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
    """Of images alone."""

    def setup(self, context: Context) -> None:
        """Look at the shape.

        Raises:
            ValueError: samples are no images.
        """
        refuse_vectors(context.shape)


class Shift(_Spatial):
    """Moves each image by its own whole number of pixels in both directions: a random crop after padding.

    Hinton 2022, section 3.3: two pixels make 25 different shifts.

    Args:
        pixels: the largest shift to each side.
        border: what comes in: zeros, or the image reflected at its outermost pixels.
    """

    def __init__(self, pixels: Natural = 2, border: Literal["zero", "reflect"] = "zero") -> None:
        super().__init__()
        self.pixels = pixels
        self.border = border

    def setup(self, context: Context) -> None:
        """Look at the shape.

        Raises:
            ValueError: samples are no images, or too small to be reflected so far.
        """
        super().setup(context)
        _, height, width = context.shape
        least = min(height, width)
        if self.border == "reflect" and self.pixels >= least:
            raise ValueError(
                f"shift reflects at most {least - 1} pixels of images of {width}x{height}, not {self.pixels}"
            )

    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        p = self.pixels
        height, width = x.shape[2:]
        corner = rng.integers("shift", 2 * p + 1, 2)
        padded = F.pad(x, (p, p, p, p), "reflect" if self.border == "reflect" else "constant")
        # A view of all (2p + 1)² windows of the padded image, of which each sample copies one.
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(len(x), device=x.device), :, corner[:, 0], corner[:, 1]]


class Flip(_Spatial):
    """Mirrors an image, left to right.

    Args:
        probability: of each image to be mirrored.
    """

    def __init__(self, probability: Fraction = 0.5) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        mirrored = rng.uniform("flip", 1, 1, 1) < self.probability
        return torch.where(mirrored, x.flip(-1), x)


class ResizedCrop(_Spatial):
    """A box of each image's own, of random area and shape, resized to the whole image bilinearly.

    The box is drawn as torchvision's RandomResizedCrop draws it: an even share of the area, an aspect ratio
    even in its logarithm, sides rounded to whole pixels, at an even place; pixels outside it have no say. But
    torchvision draws up to ten times until a box fits and then takes a central one; here a side that is too
    long is cut to the image's. Only boxes of nearly the whole area are changed by it, towards more of them.

    Szegedy et al. 2015, "Going Deeper with Convolutions", arXiv:1409.4842.

    Args:
        scale: least and largest share of the area.
        ratio: least and largest width divided by height.
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
        across = _places(left, columns, width, x)[:, None, :].expand(-1, height, -1)
        down = _places(top, rows, height, x)[:, :, None].expand(-1, -1, width)
        return F.grid_sample(
            x, torch.stack((across, down), dim=3), padding_mode="border", align_corners=False
        )

    def boxes(self, height: int, width: int, rng: BatchRNG) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """First row, first column, rows and columns of each box, (N, 1) whole numbers as floats."""
        area, shape, down, across = rng.uniform("resized-crop", 4, 1).unbind(1)
        low, high = self.scale
        area = (low + (high - low) * area) * (height * width)
        narrow, wide = self.ratio
        shape = narrow * (wide / narrow) ** shape
        rows = (area / shape).sqrt().round().clamp(1, height)
        columns = (area * shape).sqrt().round().clamp(1, width)
        # a number just below 1 times a side may be rounded up to it
        top = (down * (height - rows + 1)).floor().minimum(height - rows)
        left = (across * (width - columns + 1)).floor().minimum(width - columns)
        return top, left, rows, columns


class Cutout(_Spatial):
    """Sets a square of each image to 0; its centre lies anywhere in the image, and what sticks out is lost.

    DeVries and Taylor 2017, arXiv:1708.04552.

    Args:
        side: of the square, in pixels.
        probability: of each image to get one.
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
        """Which places of an axis the square covers, (N, length), from numbers (N, 1) in [0, 1)."""
        first = (centre * length).floor().clamp(max=length - 1) - self.side // 2
        place = torch.arange(length, device=centre.device)
        return (place >= first) & (place < first + self.side)


def refuse_vectors(shape: tuple[int, ...]) -> None:
    """Samples must have the shape (C, H, W).

    Raises:
        ValueError: they have another.
    """
    if len(shape) != 3:
        raise ValueError(f"expected images (C, H, W); the samples have the shape {shape}")


def _places(first: Tensor, count: Tensor, length: int, like: Tensor) -> Tensor:
    """Where ``length`` even samples of a stretch of pixels lie, as `grid_sample` counts: (N, length)."""
    middle = torch.arange(length, device=like.device, dtype=like.dtype) + 0.5
    place = middle * (count / length).to(like.dtype)
    # from the middle of the stretch's first pixel to that of its last
    place = first + place.clamp(min=0.5).minimum(count - 0.5)
    return 2 * place / length - 1
