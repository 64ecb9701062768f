"""Augmentations of colour.

They work on values in [0, 1] and return such values. Standardised samples are converted before and after.

N samples; C channels, red, green and blue or a single one, of H by W pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ffcore.interfaces import Augmentation, BatchRNG, Context
from ffcore.options import Fraction, NonNegative
from ffcore_std.augmentations import refuse_vectors


class _Colour(Augmentation):
    """Changes colours on the scale [0, 1], also if the loader standardises them."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 1, 1), persistent=False)
        self.register_buffer("std", torch.ones(1, 1, 1), persistent=False)
        self.scaled = False

    def setup(self, context: Context) -> None:
        """Read the mean and standard deviation of the loader; without statistics, none are assumed.

        Raises:
            ValueError: when samples are not images of 1 or 3 channels.
        """
        refuse_vectors(context.shape)
        if context.shape[0] not in (1, 3):
            raise ValueError(f"expected images of 1 or 3 channels for colours, found {context.shape[0]}")
        if (known := context.statistics) is not None:
            self.mean = torch.tensor(known.mean).view(-1, 1, 1)
            self.std = torch.tensor(known.std).view(-1, 1, 1)
            self.scaled = any(known.mean) or any(s != 1 for s in known.std)

    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, C, H, W) → (N, C, H, W), C 1 or 3."""
        if not self.scaled:
            return self.change(x, rng)
        mean, std = self.mean.to(x), self.std.to(x)
        return (self.change(x * std + mean, rng) - mean) / std

    @abstractmethod
    def change(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """Change images with values in [0, 1]."""


class ColourJitter(_Colour):
    """Random brightness, contrast, saturation and hue, in this order.

    As torchvision's ColorJitter, but in a fixed order. x ← clamp(c + f·(x − c), 0, 1) with a factor f uniform
    in 1 ± the option, and c = 0 (brightness), the image's mean luma (contrast) or the pixel's luma
    (saturation). The hue is shifted in HSV. Images of one channel have no saturation and no hue.

    Args:
        brightness: half the range of the brightness factor.
        contrast: half the range of the contrast factor.
        saturation: half the range of the saturation factor.
        hue: maximum shift of the hue in both directions, as a fraction of the full circle.
        probability: probability that an image is changed.
    """

    def __init__(
        self,
        brightness: NonNegative = 0.4,
        contrast: NonNegative = 0.4,
        saturation: NonNegative = 0.4,
        hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1,
        probability: Fraction = 1.0,
    ) -> None:
        super().__init__()
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.probability = probability

    def change(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, C, H, W) → (N, C, H, W), C 1 or 3."""
        coloured = x.shape[1] == 3
        drawn = rng.uniform("colour-jitter", 5, 1, 1, 1).to(x.dtype)
        chance, brightness, contrast, saturation, hue = drawn.unbind(1)
        made = x
        if self.brightness:
            made = (made * _factor(brightness, self.brightness)).clamp(0, 1)
        if self.contrast:
            mean = (luma(made) if coloured else made).mean((1, 2, 3), keepdim=True)
            made = _drawn_away(made, mean, _factor(contrast, self.contrast))
        if self.saturation and coloured:
            made = _drawn_away(made, luma(made), _factor(saturation, self.saturation))
        if self.hue and coloured:
            made = turned(made, (2 * hue[:, 0] - 1) * self.hue)
        return torch.where(chance < self.probability, made, x)


class Grey(_Colour):
    """Replaces colours by their luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Args:
        probability: of each image to become grey.
    """

    def __init__(self, probability: Fraction = 0.2) -> None:
        super().__init__()
        self.probability = probability

    def change(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, C, H, W) → (N, C, H, W), C 1 or 3; one channel is returned unchanged."""
        if x.shape[1] == 1:
            return x
        return torch.where(rng.uniform("grey", 1, 1, 1) < self.probability, luma(x), x)


def luma(x: Tensor) -> Tensor:
    """Return the luma, (N, 3, H, W) → (N, 1, H, W)."""
    red, green, blue = x.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def turned(x: Tensor, turn: Tensor) -> Tensor:
    """Shift the hue in HSV, with the same value and saturation.

    Args:
        x: (N, 3, H, W) in [0, 1].
        turn: (N, 1, 1) shift as a fraction of the full circle.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    red, green, blue = x.unbind(1)
    value = red.maximum(green).maximum(blue)
    chroma = value - red.minimum(green).minimum(blue)
    some = torch.where(chroma > 0, chroma, 1)  # grey pixels have no hue; avoids 0/0
    sixths = torch.where(
        value == red,
        (green - blue) / some,
        torch.where(value == green, (blue - red) / some + 2, (red - green) / some + 4),
    )
    hue = sixths / 6 + turn
    hue = 6 * (hue - hue.floor())
    pure = torch.stack(((hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs()), dim=1).clamp_(0, 1)
    return value[:, None] - chroma[:, None] * (1 - pure)


def _factor(number: Tensor, half_range: float) -> Tensor:
    """Map numbers in [0, 1) to factors in 1 ± half_range, at least 0."""
    low = max(0.0, 1 - half_range)
    return low + (1 + half_range - low) * number


def _drawn_away(x: Tensor, centre: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(centre.expand_as(x), x, factor).clamp_(0, 1)
