"""Label codes: how a class is written into an input.

N samples; V views; K classes; D input features.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ffcore.interfaces import Context, LabelCode, LabelledInput
from ffcore.options import Positive
from ffcore_ff.handoffs import l2, rms

Normalise = Literal["rms", "l2", "none"]


def normalised(x: Tensor, how: Normalise) -> Tensor:
    """Rows divided by their root mean square or length, as a block does with what it hands on."""
    if how == "none":
        return x
    return rms(x) if how == "rms" else l2(x)


class _OneHot(LabelCode):
    """Codes of ``strength`` for the class and 0 for the others; the neutral one is strength/K for all."""

    eye: Tensor

    def __init__(self, strength: Positive = 1.0, normalise: Normalise = "rms") -> None:
        super().__init__()
        self.strength = strength
        self.normalise = normalise

    def setup(self, context: Context) -> tuple[int, ...]:
        """Make the codes."""
        self.register_buffer("eye", self.strength * torch.eye(context.classes), persistent=False)
        return context.shape

    def code(self, y: Tensor | None, n: int) -> Tensor:
        """(n, K) codes."""
        if y is None:
            return self.eye.mean(0, keepdim=True).expand(n, -1)
        return self.eye[y]


class Overlay(_OneHot):
    """Writes the class over the first K features: one of them ``strength``, the others 0 (Hinton 2022, 3.3).

    For dense bodies; a convolution cannot relate a few pixels in a corner to the rest.

    Args:
        strength: value of the class's feature.
        normalise: "rms" divides each labelled input by its root mean square, "l2" by its length, as a block
            does with what it hands on; "none" leaves it.
    """

    examples = ({"normalise": "l2"}, {"normalise": "none"})

    def setup(self, context: Context) -> tuple[int, ...]:
        """Make the codes.

        Raises:
            ValueError: when an input has fewer features than there are classes.
        """
        classes, features = context.classes, math.prod(context.shape)
        if classes > features:
            raise ValueError(f"labels overlay: {classes} classes do not fit into {features} input features")
        return super().setup(context)

    def join(self, x: Tensor, code: Tensor) -> LabelledInput:
        """(N, *shape) and (V·N, K) → V·N labelled rows."""
        base = x.clone(memory_format=torch.contiguous_format)
        flat = base.flatten(1)  # a view of it
        flat[:, : code.shape[1]] = 0
        code = code.to(x.dtype)
        if self.normalise == "none":
            return LabelledInput(base, code)
        square = flat.square().sum(1).repeat(len(code) // len(x)) + code.square().sum(1)
        length = square.sqrt_().clamp_min_(1e-8)
        unit = math.sqrt(flat.shape[1]) if self.normalise == "rms" else 1.0
        return LabelledInput(base, code, (unit / length).unsqueeze(1))


class _WholeImage(_OneHot):
    def setup(self, context: Context) -> tuple[int, ...]:
        """Make the codes.

        Raises:
            ValueError: when a sample is no image C×H×W.
        """
        if len(context.shape) != 3:
            raise ValueError(f"this label code needs images of C×H×W, samples have shape {context.shape}")
        return super().setup(context)


class Channels(_WholeImage):
    """Appends K channels to an image: that of its class is ``strength`` everywhere, the others are 0.

    For convolutional bodies, which see the label at every place.

    Args:
        strength: value of the class's channel.
        normalise: of the labelled input: "rms", "l2" or "none".
    """

    def setup(self, context: Context) -> tuple[int, ...]:
        """(C, H, W) → (C + K, H, W)."""
        channels, height, width = super().setup(context)
        return channels + context.classes, height, width

    def join(self, x: Tensor, code: Tensor) -> Tensor:
        """(N, C, H, W) and (V·N, K) → (V·N, C + K, H, W)."""
        planes = code.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        images = x.repeat(len(code) // len(x), 1, 1, 1)
        return normalised(torch.cat([images, planes], dim=1), self.normalise)


class Fourier(_WholeImage):
    """Lays a plane wave of the class's own frequency and direction over the whole image.

    x + s·cos(2π (u_k i/H + v_k j/W) + φ_k): the K shortest wave vectors (u, v) of one half-plane, each with
    φ = 0 and, when they are used up, π/2. Spatially extended labels as in Scodellaro et al. 2025,
    arXiv:2312.14924, who do not publish their frequencies.

    Args:
        strength: amplitude s.
        normalise: of the labelled input: "rms", "l2" or "none".
    """

    waves: Tensor

    def setup(self, context: Context) -> tuple[int, ...]:
        """Draw the waves.

        Raises:
            ValueError: when an image has too few pixels for so many different waves.
        """
        shape, classes = super().setup(context), context.classes
        _, height, width = shape
        vectors = [
            (u, v)
            for u in range((height + 1) // 2)
            for v in range(-((width - 1) // 2), (width + 1) // 2)
            if u > 0 or v > 0
        ]
        vectors.sort(key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv))
        if classes > 2 * len(vectors):
            raise ValueError(
                f"labels fourier: {classes} classes, but {height}×{width} pixels tell fewer waves apart"
            )
        rows = torch.arange(height)[:, None] / height
        columns = torch.arange(width)[None, :] / width
        waves = []
        for k in range(classes):
            u, v = vectors[k % len(vectors)]
            phase = math.pi / 2 * (k // len(vectors))
            waves.append(torch.cos(2 * math.pi * (u * rows + v * columns) + phase))
        self.register_buffer("waves", torch.stack(waves), persistent=False)
        return shape

    def join(self, x: Tensor, code: Tensor) -> Tensor:
        """(N, C, H, W) and (V·N, K) → (V·N, C, H, W), the same wave in all channels."""
        waves = torch.einsum("rk,khw->rhw", code.to(x.dtype), self.waves.to(x.dtype))
        return normalised(x.repeat(len(code) // len(x), 1, 1, 1) + waves.unsqueeze(1), self.normalise)
