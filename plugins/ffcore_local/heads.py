"""Linear heads: a classifier on a block's own activity.

    a = h, or h / RMS(h) with normalise     (R, *shape), RMS(h)² = mean h² + 1e-6 of a sample, not of padding
    f = pooled activity a^power             (R, F), F = C·h·w
    g = D f + b                             (R, K)

R rows; C channels of H by W pixels, averaged over h by w cells; F features; K classes; D (K, F).
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import Context, Goodness
from ffcore.interfaces.goodness import Form
from ffcore.options import Size

_MANY = 16
"""From this number of rows on, cells are averaged by a matrix product."""

_EPS = 1e-6
"""Added to the mean square of an activity, so that one of zeros has a finite gradient."""

_LARGEST = 2**20
"""Largest number of elements of its matrix."""


def cells(shape: tuple[int, ...], most: int | None, grid: int | None) -> tuple[int, int]:
    """Return the number of cells (h, w) over which the channels of an image are averaged.

    Args:
        shape: (C, H, W).
        most: largest number of features C·h·w. The height is halved first, then the width, in turns, as in
            the code of Nøkland and Eidnes; a side that is no power of two gets its next smaller divisor.
        grid: number of cells of a side, in place of ``most``.

    >>> cells((128, 32, 32), 2048, None), cells((256, 32, 32), 2048, None)
    ((4, 4), (2, 4))

    Raises:
        ValueError: when ``grid`` does not divide a side.
    """
    channels, *sides = shape
    if grid is not None:
        if any(side % grid for side in sides):
            divisors = sorted(set(_divisors(sides[0])) & set(_divisors(sides[1])))
            right = ", ".join(map(str, divisors))
            raise ValueError(
                f"grid: {grid} cells do not divide an image of {sides[0]}×{sides[1]} pixels; these "
                f"do: {right}"
            )
        return grid, grid
    counts, axis = [*sides], 0
    while most is not None and channels * math.prod(counts) > most and max(counts) > 1:
        # the next smaller divisor: half of a power of two, and no pixel is left over
        counts[axis] = max((d for d in _divisors(sides[axis]) if d < counts[axis]), default=1)
        axis = 1 - axis
    return counts[0], counts[1]


def _divisors(side: int) -> list[int]:
    return [d for d in range(1, side + 1) if side % d == 0]


def _means(grid: tuple[int, int], sides: tuple[int, ...]) -> Tensor:
    """Return the matrix (cells, positions) that averages the positions of each cell."""
    own = [
        torch.eye(n).repeat_interleave(side // n, 1) * n / side for n, side in zip(grid, sides, strict=True)
    ]
    return torch.kron(*own)


def feature_dim(shape: tuple[int, ...], dim: int | None) -> int | None:
    """Return the dimension of the features of an activity, from 0; None for (U,) and images without ``dim``.

    Raises:
        ValueError: when it does not exist, or is missing for tokens.
    """
    if dim is None:
        if len(shape) not in (1, 3):
            raise ValueError(
                f"an activity {shape} may be tokens or channels; set dim to the dimension of the features: "
                "-1 for tokens (T, D), 0 for channels (C, positions)"
            )
        return None
    if not -len(shape) <= dim < len(shape):
        raise ValueError(f"dim: {dim} is not a dimension of an activity {shape}")
    return dim % len(shape)


class Pooled(nn.Module):
    """The features of a block's activity that its head reads, (R, *shape) → (R, F).

    Args:
        shape: shape of one activity: (U,), (C, H, W), or (T, D) with ``dim``.
        features: largest number of features of an image; None: all pixels.
        grid: number of cells of a side, in place of ``features``.
        dim: the dimension of a sample that holds the features of a token; the others are averaged.
        padding: whether tokens whose features are all zero are left out of the mean.

    Raises:
        ValueError: when it does not fit the shape.
    """

    average: Tensor | None

    def __init__(
        self,
        shape: tuple[int, ...],
        features: int | None,
        grid: int | None,
        dim: int | None,
        padding: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("average", None, persistent=False)
        self.grid: tuple[int, int] | None = None
        self.dim, self.padding = feature_dim(shape, dim), padding
        if self.dim is not None:
            self.features = shape[self.dim]
        elif len(shape) == 1:
            self.features = shape[0]
        else:
            self.grid = cells(shape, features, grid)
            self.features = shape[0] * math.prod(self.grid)
            self.sides = shape[1:]
            numbers = math.prod(self.grid) * math.prod(self.sides)
            if self.grid != self.sides and numbers <= _LARGEST:
                self.register_buffer("average", _means(self.grid, self.sides), persistent=False)

    def real(self, x: Tensor) -> Tensor | None:
        """Return which tokens are not padding, (R, T, D) → (R, T, 1); None where padding is not left out."""
        if not self.padding or self.dim is None or x.dim() == 2:
            return None
        return (x != 0).any(self.dim + 1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, F); the features of an image are ordered by cell, then channel."""
        if self.dim is not None:
            others = [d + 1 for d in range(x.dim() - 1) if d != self.dim]
            if (real := self.real(x)) is not None:
                return x.sum(others) / real.sum(others).clamp(min=1)
            return x.mean(others) if others else x
        if self.grid is None:
            return x
        rows = x.permute(0, 2, 3, 1)  # no copy below if channels last
        if self.grid == self.sides:
            return rows.flatten(1)
        if self.average is None or x.device.type != "cpu" or not x.requires_grad or x.shape[0] < _MANY:
            kernel = (self.sides[0] // self.grid[0], self.sides[1] // self.grid[1])
            return F.avg_pool2d(x, kernel).permute(0, 2, 3, 1).flatten(1)
        # On a CPU torch's pooling and its gradient take two to five times as long for channels-last images.
        average = self.average.to(x.dtype).expand(x.shape[0], -1, -1)
        return torch.bmm(average, rows.flatten(1, 2)).flatten(1)


class LinearHead(Goodness):
    """Linear classifier on the pooled activity, g = D f + b.

    With cross-entropy it is the "pred" loss of Nøkland and Eidnes 2019 (arXiv:1901.06656), and with all
    pixels the goodness of Mono-Forward (arXiv:2501.09238). D learns with the block and is counted apart from
    the network.

    Args:
        features: largest number F of features of an image: its pixels are averaged in cells until there are
            not more. null: no pooling.
        grid: number of cells of a side, in place of ``features``: 1 averages all pixels.
        init: "zero": no class is favoured, and the block's first gradient is zero; "uniform" in ±1/√F,
            torch's default; "he": normal, variance 2/F.
        fixed: whether D keeps its random initial values, and only the block learns.
        bias: whether to add b.
        dim: for an activity of tokens, the dimension that holds the features: -1 for (T, D).
        power: 2: the features are means of squares over the cells; 1: means of the activity. ASGE uses
            squares and a fixed head (arXiv:2509.12394).
        padding: with ``dim``, whether tokens whose features are all zero are padding, which the mean over the
            tokens, and the mean square of ``normalise``, leave out.
        normalise: whether the head reads h / RMS(h), each sample with a mean square of 1, as after the
            handoff ``rms``. The block cannot lower its loss by its scale; its features then suit a block
            that reads the normalised activity.

    Raises:
        ValueError: when a fixed head would start at zero.
    """

    form: ClassVar[Form] = "class"
    linear: nn.Linear
    examples = (
        {"fixed": True, "init": "he", "power": 2},
        {"grid": 1, "features": None, "bias": False},
        {"normalise": True},
    )

    def __init__(
        self,
        features: Size | None = 2048,
        grid: Size | None = None,
        init: Literal["zero", "uniform", "he"] = "zero",
        fixed: bool = False,
        bias: bool = True,
        dim: Annotated[int, Field(ge=-8, le=8)] | None = None,
        power: Literal[1, 2] = 1,
        padding: bool = False,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        if fixed and init == "zero":
            raise ValueError("init: a fixed head of zeros teaches nothing; use init: he or uniform")
        self.options = (features if grid is None else None, grid, dim, padding)
        self.init = init
        self.fixed = fixed
        self.bias = bias
        self.power = power
        self.normalise = normalise

    def setup(self, context: Context) -> None:
        """Make D.

        Raises:
            ValueError: when the pooling does not fit the activity.
        """
        try:
            self.pooled = Pooled(context.shape, *self.options)
        except ValueError as error:
            raise ValueError(f"goodness linear-head: block {context.name}: {error}") from error
        self.linear = nn.Linear(self.pooled.features, context.classes, self.bias)
        if self.init == "zero":
            nn.init.zeros_(self.linear.weight)
        elif self.init == "he":
            nn.init.kaiming_normal_(self.linear.weight)
        if self.bias and self.init != "uniform":
            nn.init.zeros_(self.linear.bias)
        if self.fixed:
            self.linear.requires_grad_(False)

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R, K)."""
        if self.normalise:
            every = tuple(range(1, activity.dim()))
            square = activity.square().mean(every, keepdim=True)
            if (real := self.pooled.real(activity)) is not None:
                # of the tokens that are there; a sample without any keeps its mean of 0
                square = square / real.to(square.dtype).mean(every, keepdim=True).clamp_min(_EPS)
            activity = activity * (square + _EPS).rsqrt()
        made: Tensor = self.linear(self.pooled(activity if self.power == 1 else activity.square()))
        return made.to(torch.promote_types(made.dtype, torch.float32))
