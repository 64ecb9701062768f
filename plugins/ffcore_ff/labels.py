"""Label codes, which write a class into an input.

    overlay:  x_k ← s·[k = y] for the first K features
    prefix:   K further features s·[k = y] before the others
    token:    a further token V + y before the others; V + K is neutral
    channels: K further channels, s·[k = y] everywhere
    fourier:  x ← x + s·cos(2π (u_y i/H + v_y j/W) + φ_y)

N samples; V views (of `token`: size of the vocabulary); K classes; D input features; y the class; s the
strength.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Context, LabelCode, LabelledInput, c99
from ffcore.options import Positive, Size
from ffcore_ff.handoffs import l2, rms

Normalise = Literal["rms", "l2", "none"]


def normalised(x: Tensor, how: Normalise) -> Tensor:
    """Divide rows by their root mean square or length, as the handoffs "rms" and "l2" do."""
    if how == "none":
        return x
    return rms(x) if how == "rms" else l2(x)


class _OneHot(LabelCode):
    """One-hot codes times ``strength``; the neutral code is strength/K for all classes."""

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
        """Return codes (n, K)."""
        if y is None:
            return self.eye.mean(0, keepdim=True).expand(n, -1)
        return self.eye[y]


class Overlay(_OneHot):
    """Replaces the first K features by the one-hot class (Hinton 2022, 3.3).

    For dense bodies. A convolution cannot relate a few pixels in a corner to the rest of the image.

    Args:
        strength: value of the class's feature; the others are 0.
        normalise: "rms" divides each labelled input by its root mean square, "l2" by its length, as the
            handoffs of these names do; "none" does neither.
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

    def join(self, x: Tensor, code: Tensor) -> Tensor:
        """Return V·N labelled rows, (N, *shape) and (V·N, K) → (V·N, *shape)."""
        if not x.is_floating_point():
            right = "x / 255" if x.dtype == torch.uint8 else "x.float()"
            raise ValueError(f"labels are written into floats, not into {x.dtype}; use {right}")
        base = x.clone(memory_format=torch.contiguous_format)
        flat = base.flatten(1)  # a view of it
        flat[:, : code.shape[1]] = 0
        code = code.to(x.dtype)
        if self.normalise == "none":
            return LabelledInput.of(base, code)
        # the base is 0 where the code is, so the squared length of a row is the sum of both
        square = flat.square().sum(1).repeat(code.shape[0] // x.shape[0]) + code.square().sum(1)
        length = square.sqrt().clamp_min(1e-8)
        unit = math.sqrt(flat.shape[1]) if self.normalise == "rms" else 1.0
        return LabelledInput.of(base, code, (unit / length).unsqueeze(1))

    def c99(self) -> c99.LabelWriter:
        """Return the C form; see `ffcore.interfaces.c99`."""
        return c99.LabelWriter(_written("k < CLASSES ? 0.0f : x[k]", self))


class Prefix(Overlay):
    """Puts the one-hot class before the features, and replaces none; for tables. An image becomes a row.

    Args:
        strength: value of the class's feature; the others are 0.
        normalise: as for `Overlay`.
    """

    def setup(self, context: Context) -> tuple[int, ...]:
        """Make the codes."""
        _OneHot.setup(self, context)
        return (context.classes + math.prod(context.shape),)

    def join(self, x: Tensor, code: Tensor) -> Tensor:
        """Return V·N labelled rows, (N, *shape) and (V·N, K) → (V·N, K + D)."""
        return super().join(F.pad(x.flatten(1), (code.shape[1], 0)), code)

    def c99(self) -> c99.LabelWriter:
        """Return the C form; see `ffcore.interfaces.c99`."""
        return c99.LabelWriter(_written("k < CLASSES ? 0.0f : x[k - CLASSES]", self))


def _written(value: str, of: _OneHot) -> str:
    """Return C statements that write the row of an overlay; ``value`` is that of feature k."""
    written = (
        "for (uint32_t k = 0u; k < INPUTS; ++k) {\n"
        f"    row[k] = {value};\n"
        "}\n"
        f"row[label] = {c99.literal(of.strength)};"
    )
    if of.normalise == "none":
        return written
    unit = "sqrtf((float)INPUTS)" if of.normalise == "rms" else "1.0f"
    return (
        f"{written}\n"
        "const float length = fmaxf(sqrtf(dot(row, row, INPUTS)), 1e-8f);\n"
        f"const float scale = {unit} / length;\n"
        "for (uint32_t k = 0u; k < INPUTS; ++k) {\n"
        "    row[k] *= scale;\n"
        "}"
    )


class Token(_OneHot):
    """Puts the class before the tokens as a token of its own, x ← (V + y, x_1, …, x_T).

    The neutral token is V + K, so that an embedding needs V + K + 1 tokens.

    Args:
        tokens: size V of the vocabulary of the samples.
    """

    reads_tokens: ClassVar[bool] = True
    examples = ({"tokens": 10},)

    def __init__(self, tokens: Size = 256) -> None:
        super().__init__(normalise="none")
        self.tokens = tokens
        self._checked = False

    def setup(self, context: Context) -> tuple[int, ...]:
        """(T,) → (T + 1,).

        Raises:
            ValueError: when a sample is not a sequence of tokens.
        """
        if len(context.shape) != 1:
            raise ValueError(f"labels token: needs tokens (T,), samples have shape {context.shape}")
        (length,) = super().setup(context)
        return (length + 1,)

    def join(self, x: Tensor, code: Tensor) -> Tensor:
        """(N, T) and (V·N, K) → (V·N, T + 1)."""
        if x.is_floating_point():
            raise ValueError(f"labels token: samples are {x.dtype}; tokens are integers")
        if not self._checked:  # the first samples are those of the dry run, with the largest token
            largest = int(x.max())
            if largest >= self.tokens:
                raise ValueError(
                    f"labels token: tokens run to {largest}, but tokens is {self.tokens}: the labels begin "
                    f"there; set it to {largest + 1} or more"
                )
            self._checked = True
        height, label = code.max(1)
        label = torch.where(height == 1, label, code.shape[1])  # the neutral code has no 1
        repeated = x.repeat(code.shape[0] // x.shape[0], 1)
        return torch.cat([(self.tokens + label).to(x.dtype).unsqueeze(1), repeated], dim=1)


class _WholeImage(_OneHot):
    def setup(self, context: Context) -> tuple[int, ...]:
        """Make the codes.

        Raises:
            ValueError: when a sample is not an image C×H×W.
        """
        if len(context.shape) != 3:
            raise ValueError(f"this label code needs images of C×H×W, samples have shape {context.shape}")
        return super().setup(context)


class Channels(_OneHot):
    """Appends K constant channels, the one-hot class of each position.

    For convolutional bodies, attention and recurrent layers, which then get the label at every position of
    an image (C, H, W), a signal (C, T) or a sequence (T, C).

    Args:
        strength: value of the class's channel; the others are 0.
        normalise: normalisation of the labelled input: "rms", "l2" or "none".
        dim: the dimension of a sample that holds the channels: 0, or -1 for sequences (T, C).
    """

    examples = ({"dim": -1},)

    def __init__(
        self, strength: Positive = 1.0, normalise: Normalise = "rms", dim: Literal[0, -1] = 0
    ) -> None:
        super().__init__(strength, normalise)
        self.dim = dim

    def setup(self, context: Context) -> tuple[int, ...]:
        """(C, *positions) → (C + K, *positions).

        Raises:
            ValueError: when a sample has no positions.
        """
        sides = [*super().setup(context)]
        if len(sides) < 2:
            raise ValueError(f"labels channels: samples of shape {context.shape} have no positions")
        sides[self.dim] += context.classes
        return tuple(sides)

    def join(self, x: Tensor, code: Tensor) -> Tensor:
        """(N, C, *positions) and (V·N, K) → (V·N, C + K, *positions)."""
        copies = x.repeat(code.shape[0] // x.shape[0], *[1] * (x.dim() - 1)).movedim(self._channels, 1)
        planes = code.to(x.dtype).view(*code.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *copies.shape[2:])
        joined = torch.cat([copies, planes], dim=1).movedim(1, self._channels)
        return normalised(joined, self.normalise)

    @property
    def _channels(self) -> int:
        """The dimension of the channels in a batch."""
        return 1 if self.dim == 0 else -1


class Fourier(_WholeImage):
    """Adds a plane wave to the image, with one frequency and direction per class.

    x + s·cos(2π (u_k i/H + v_k j/W) + φ_k). The wave vectors (u, v) are the K shortest of one half-plane,
    with φ = 0 first, and with φ = π/2 if there are more classes than vectors. Spatially extended labels as in
    Scodellaro et al. 2025, arXiv:2312.14924. The paper does not publish its frequencies.

    Args:
        strength: amplitude s.
        normalise: normalisation of the labelled input: "rms", "l2" or "none".
    """

    waves: Tensor

    def setup(self, context: Context) -> tuple[int, ...]:
        """Make the waves.

        Raises:
            ValueError: when an image has too few pixels for K different waves.
        """
        shape, classes = super().setup(context), context.classes
        _, height, width = shape
        # One half-plane: (u, v) and (−u, −v) are the same wave.
        vectors = [
            (u, v)
            for u in range((height + 1) // 2)
            for v in range(-((width - 1) // 2), (width + 1) // 2)
            if u > 0 or v > 0
        ]
        vectors.sort(key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv))
        if classes > 2 * len(vectors):
            raise ValueError(
                f"labels fourier: {classes} classes, but images of {height}×{width} pixels have only "
                f"{2 * len(vectors)} different waves"
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
        return normalised(x.repeat(code.shape[0] // x.shape[0], 1, 1, 1) + waves.unsqueeze(1), self.normalise)
