"""Negative images: changed images, without a hypothesis.

N samples; C channels of H by W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.data.images import Dataset
from ffcore.interfaces import BatchRNG, Context, NegativeData
from ffcore.options import ByName, Count, Natural
from ffcore.parts import part

_Negatives = tuple[Tensor, Tensor | None]
_Probs = Callable[[], Tensor]


class _WrongImages(NegativeData):
    hypotheses: ClassVar[bool] = False

    def setup(self, context: Context) -> None:
        """Check that samples are images.

        Raises:
            ValueError: when a sample is not C×H×W.
        """
        if len(context.shape) != 3:
            raise ValueError(f"negative images need samples of C×H×W, these have shape {context.shape}")


def blur(side: int, times: int) -> Tensor:
    """Return a matrix B (side, side): B·v is v blurred ``times`` times by [1/4, 1/2, 1/4], edges repeated.

    All entries are multiples of 4^−times, so float32 represents six blurs of bits exactly.

    >>> (blur(3, 1) @ torch.tensor([0.0, 1.0, 0.0])).tolist()
    [0.25, 0.5, 0.25]
    """
    # float64, so that the matrix power is exact.
    once = torch.zeros(side, side, dtype=torch.float64)
    for i in range(side):
        for j, weight in ((i - 1, 0.25), (i, 0.5), (i + 1, 0.25)):
            once[i, min(max(j, 0), side - 1)] += weight
    power: Tensor = torch.linalg.matrix_power(once, times)
    return power.float()


class Hybrid(_WrongImages):
    """Mix of two images by a mask m of blobs, m·x + (1 − m)·x' (Hinton 2022, 3.2).

    x' is another sample of the batch. The mask is a random bit image that is blurred several times and cut at
    1/2. Short-range correlations are those of real images, long-range correlations are not. In a batch
    of one sample x' is the sample itself, turned by 180°.

    Args:
        blurs: number of blurs of the mask. The paper does not state it; re-implementations use 5 or 6.
    """

    couples_samples: ClassVar[bool] = True
    down: Tensor
    across: Tensor

    def __init__(self, blurs: Natural = 6) -> None:
        super().__init__()
        self.blurs = blurs

    def setup(self, context: Context) -> None:
        """Make the blur matrices of columns and rows."""
        super().setup(context)
        _, height, width = context.shape
        for name, side in (("down", height), ("across", width)):
            self.register_buffer(name, blur(side, self.blurs), persistent=False)

    def mask(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """Return masks (N, 1, H, W) of booleans."""
        bits = (rng.uniform("mask", 1, *x.shape[2:]) < 0.5).to(self.down.dtype)
        return self.down @ bits @ self.across.T > 0.5

    def forward(self, x: Tensor, y: Tensor | None, probs: _Probs, rng: BatchRNG) -> _Negatives:
        """Return hybrid images without hypotheses."""
        n = x.shape[0]
        if n == 1:  # no other sample: its own, turned by half a turn
            return torch.where(self.mask(x, rng), x, x.flip(2, 3)), None
        # a partner at a random distance of 1 … n − 1, so that it is never the sample itself
        step = 1 + rng.integers("partner", max(1, n - 1))
        partner = (torch.arange(n, device=x.device) + step) % n
        return torch.where(self.mask(x, rng), x, x[partner]), None


class Shuffled(_WrongImages):
    """Shuffles the square patches of each image.

    Args:
        patch: side of a patch in pixels; it has to divide both sides of the image.
    """

    def __init__(self, patch: Count = 1) -> None:
        super().__init__()
        self.patch = patch

    def setup(self, context: Context) -> None:
        """Check that patches tile the image.

        Raises:
            ValueError: when the patch does not divide the sides, or is as large as the image.
        """
        super().setup(context)
        _, height, width = context.shape
        if height % self.patch or width % self.patch or height * width == self.patch**2:
            raise ValueError(f"shuffled: patches of {self.patch} do not tile images of {height}×{width}")

    def forward(self, x: Tensor, y: Tensor | None, probs: _Probs, rng: BatchRNG) -> _Negatives:
        """Return shuffled images without hypotheses."""
        p, size = self.patch, x.shape[2:]
        patches = F.unfold(x, p, stride=p)  # (N, C·p·p, L)
        order = rng.uniform("shuffle", patches.shape[2]).argsort(1)
        mixed = patches.gather(2, order.unsqueeze(1).expand_as(patches))
        return F.fold(mixed, (size[0], size[1]), p, stride=p), None


class Turned(_WrongImages):
    """Rotates each square image by 90, 180 or 270 degrees."""

    def setup(self, context: Context) -> None:
        """Check that images are square.

        Raises:
            ValueError: when height and width differ.
        """
        super().setup(context)
        _, height, width = context.shape
        if height != width:
            raise ValueError(f"turned: images of {height}×{width} are not square")

    def forward(self, x: Tensor, y: Tensor | None, probs: _Probs, rng: BatchRNG) -> _Negatives:
        """Return rotated images without hypotheses."""
        turns = torch.stack([x.rot90(k, (2, 3)) for k in (1, 2, 3)])
        which = rng.integers("turn", 3)
        return turns[which, torch.arange(x.shape[0], device=x.device)], None


class OtherData(_WrongImages):
    """Random images of another data set's training split.

    They are sampled with replacement.

    Args:
        dataset: the other data set; its samples need as many values as those of the data.
    """

    images: Tensor
    examples = ({"dataset": "digits"},)

    def __init__(self, dataset: Dataset | ByName) -> None:
        super().__init__()
        self.dataset: Dataset = part("dataset", dataset)

    def setup(self, context: Context) -> None:
        """Read the other data set.

        Raises:
            ValueError: when its samples have another size, or those of the data are outside [0, 1].
        """
        super().setup(context)
        other, shape = self.dataset.load(), context.shape
        if math.prod(other.shape) != math.prod(shape):
            raise ValueError(f"other-data: samples of {other.name} are {other.shape}, not {shape}")
        self.scale = other.scale
        images = torch.from_numpy(other.train.x.copy()).view(-1, *shape)
        self.register_buffer("images", images, persistent=False)
        if (known := context.statistics) is not None and (known.low < 0 or known.high > 1):
            raise ValueError(
                f"other-data: its samples are in [0, 1], those of the data between {known.low:.3g} and "
                f"{known.high:.3g}; set data.standardise to false"
            )

    def forward(self, x: Tensor, y: Tensor | None, probs: _Probs, rng: BatchRNG) -> _Negatives:
        """Return images of the other data set without hypotheses."""
        return self.images[rng.integers("other-data", len(self.images))].to(x.dtype) * self.scale, None
