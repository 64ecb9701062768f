"""Alignment to stored sequences as a black box, and warped digits to try it on.

    D_{ij} = ‖x_i − e_j‖² + min(D_{i−1,j}, D_{i,j−1}, D_{i−1,j−1})       D_{00} = 0, else ∞ at the border
    d(x, e) = D_{TT}/2T                                                  dynamic time warping
    output_p = (m − d(x, e_p))/s

R rows; N samples; T frames of C features; x, e (T, C); P stored sequences e_p, `stored` of each class; m, s
mean and standard deviation of the distances between different stored sequences.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.interfaces import BlackBox, Context
from ffcore.options import Natural, NonNegative, Size
from ffcore.parts import part

Array = np.ndarray[Any, Any]

_ROWS = 64
"""Rows of one table of distances."""


class Alignment(BlackBox):
    """Nearness to stored samples of each class, however their time is stretched; see this module.

    Its fit stores the first samples of each class. The distance is that of dynamic time warping (Sakoe and
    Chiba 1978), computed by dynamic programming.

    Args:
        stored: stored sequences of each class; more take more time.
    """

    reads_targets = True
    examples = ({"stored": 2},)
    example_shape = (5, 3)
    exemplars: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, stored: Size = 1) -> None:
        super().__init__()
        self.stored = stored

    def setup(self, context: Context) -> None:
        """Make the buffers.

        Raises:
            ValueError: when a sample is not a sequence (T, C), or its target is not one class.
        """
        shape, task = context.shape, context.task
        if len(shape) == 1:  # one feature a frame
            shape = (*shape, 1)
        if len(shape) != 2:
            raise ValueError(f"alignment: needs sequences (T, C), not samples of shape {context.shape}")
        if task is not None and (task.target != "class" or task.features is not None):
            raise ValueError(f"alignment: stores samples of each class, but the task is {task}")
        self.classes = context.classes
        self.register_buffer("exemplars", torch.zeros(self.classes * self.stored, *shape))
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Store the first samples of each class.

        Raises:
            ValueError: when a class has too few samples.
        """
        found: list[list[Tensor]] = [[] for _ in range(self.classes)]
        for x, y in batches:
            for sample, k in zip(x, y.tolist(), strict=True):
                if len(found[k]) < self.stored:
                    found[k].append(sample)
            if all(len(of_class) == self.stored for of_class in found):
                break
        for k, of_class in enumerate(found):
            if len(of_class) < self.stored:
                raise ValueError(f"stored: {self.stored}, but class {k} has {len(of_class)} samples")
        kept = torch.stack([sample for of_class in found for sample in of_class])
        self.exemplars.copy_(kept.view_as(self.exemplars))
        if len(kept) > 1:
            between = self._distances(self.exemplars)[~torch.eye(len(kept), dtype=torch.bool)]
            spread = between.std()
            self.centre.copy_(between.mean())
            self.spread.copy_(spread if spread > 0 else torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """(R, T, C) → (R, P)."""
        near: Tensor = (self.centre.cpu() - self._distances(x)) / self.spread.cpu()
        return near

    def _distances(self, x: Tensor) -> Tensor:
        rows = x.reshape(len(x), *self.exemplars.shape[1:]).float().cpu().numpy()
        return torch.from_numpy(warped_distances(rows, self.exemplars.float().cpu().numpy()))


def warped_distances(x: Array, others: Array) -> Array:
    """Return d of every pair, (R, T, C) and (P, T', C) → (R, P) float32."""
    parts = [_of_some(x[i : i + _ROWS], others) for i in range(0, len(x), _ROWS)]
    return np.concatenate(parts) if parts else np.zeros((0, len(others)), np.float32)


def _of_some(x: Array, others: Array) -> Array:
    mean = others.mean((0, 1))  # distances stay, and their squares lose fewer digits
    x, others = x - mean, others - mean
    squares, lengths = (x**2).sum(2), (others**2).sum(2).T[:, None]
    shape = (others.shape[1] + 1, len(x), len(others))
    before = np.full(shape, np.inf, np.float32)  # of one frame of x: D by the frames of the others
    before[0] = 0
    for i in range(x.shape[1]):
        products = np.einsum("rc,puc->urp", x[:, i], others, optimize=True)
        cost = np.maximum(squares[None, :, i, None] + lengths - 2 * products, 0)
        now = np.full(shape, np.inf, np.float32)
        for j in range(others.shape[1]):
            np.add(cost[j], np.minimum(np.minimum(before[j + 1], now[j]), before[j]), out=now[j + 1])
        before = now
    made: Array = before[-1] / (x.shape[1] + others.shape[1])
    return made


class WarpedDigits(Dataset):
    """Handwritten digits as sequences of columns, stretched in time and hidden among noise.

    The columns of a digit of the data set `digits` last for random times. A frame has their 8 pixels, times
    2, beside ``channels`` − 8 channels of noise that changes slowly, x_t = 0.8 x_{t−1} + 0.6 ξ_t, all mixed
    by one random rotation. Samples are float32 (frames, channels).

    Args:
        frames: T.
        channels: features of a frame, at least 8.
        noise: standard deviation of the noise.
        seed: of noise, stretching and rotation.

    Raises:
        ValueError: when there are fewer than 8 channels.
    """

    def __init__(
        self, frames: Size = 24, channels: Size = 32, noise: NonNegative = 1.0, seed: Natural = 0
    ) -> None:
        if channels < 8:
            raise ValueError(f"channels: {channels}; a column of a digit has 8 pixels")
        self.frames, self.channels, self.noise, self.seed = frames, channels, noise, seed

    def peek(self) -> tuple[tuple[int, ...], int]:
        """Returns frames by channels, ten classes."""
        return (self.frames, self.channels), 10

    def load(self) -> ImageSet:
        """Make the sequences."""
        digits: ImageSet = part("dataset", "digits").load()
        rng = np.random.default_rng(self.seed)
        rotation = np.linalg.qr(rng.normal(size=(self.channels, self.channels)))[0]
        return ImageSet(
            name="warped-digits",
            train=self._made(digits.train, rotation, rng),
            test=self._made(digits.test, rotation, rng),
            classes=digits.classes,
            scale=1.0,
            provenance=digits.provenance,
        )

    def _made(self, digits: Split, rotation: Array, rng: np.random.Generator) -> Split:
        n, frames = len(digits), self.frames
        lasting = rng.gamma(0.5, size=(n, 8)) + 0.05
        ends = lasting.cumsum(1) / lasting.sum(1, keepdims=True)
        times = (np.arange(frames) + 0.5) / frames
        column = (times[None, :, None] >= ends[:, None, :]).sum(2).clip(max=7)  # (n, frames)
        columns = digits.x[:, 0].transpose(0, 2, 1) / 16
        signal = 2 * np.take_along_axis(columns, column[:, :, None], axis=1)
        noise = rng.normal(size=(n, frames, self.channels - 8))
        for t in range(1, frames):
            noise[:, t] = 0.8 * noise[:, t - 1] + 0.6 * noise[:, t]
        x = np.concatenate([signal, self.noise * noise], axis=2) @ rotation
        return Split(x.astype(np.float32), digits.y)
