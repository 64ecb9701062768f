"""A dense layer inside a simulated analog crossbar, which offers two operations: set weights, and run.

    G = Δ round(clip(W, ±r)/Δ)           conductances that can be set, in steps Δ = r/(2^(bits − 1) − 1)
    s = x (A ⊙ G)ᵀ + o + σ n             the gain of every cell, the offset of every column, read noise
    y = clip(s, ±saturation)

R rows; D inputs; U columns; x (R, D); W, G, A (U, D); o (U,); n (R, U) standard normal; s, y (R, U).
"""

from __future__ import annotations

import math
import zlib
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import dense
from ffcore.options import Natural, NonNegative, Positive, Size
from ffcore_blackbox.arrays import array

Array = np.ndarray[Any, Any]
_NOISE = 1 << 16  # numbers in the table of read noise
_ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # of splitmix64


class Device:
    """The hardware, without torch: what is wrong with it cannot be read, only observed.

    Args:
        shape: (U, D).
        seed: seed of its faults: another seed is another device of the same make.
        bits: bits of a conductance.
        reach: r, the largest absolute value of a weight.
        gain: standard deviation of the gain of a cell, A = 1 + gain · ξ.
        offset: standard deviation of the offset of a column.
        noise: σ of a read.
        saturation: limit of the absolute value of a sum.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        seed: int,
        bits: int,
        reach: float,
        gain: float,
        offset: float,
        noise: float,
        saturation: float,
    ) -> None:
        rng = np.random.default_rng(seed)
        self._gain = (1 + gain * rng.standard_normal(shape)).astype(np.float32)
        self._offset = (offset * rng.standard_normal(shape[0])).astype(np.float32)
        self._noise = (noise * rng.standard_normal(_NOISE)).astype(np.float32)
        self._reach, self._saturation = np.float32(reach), np.float32(saturation)
        self._step = np.float32(reach / (2 ** (bits - 1) - 1))
        self._weight: Array = self._gain
        self._set = 0

    def program(self, weight: Array) -> None:
        """Set the weights (U, D)."""
        steps = np.rint(weight.clip(-self._reach, self._reach) / self._step)
        self._weight, self._set = self._gain * (self._step * steps), zlib.crc32(steps.tobytes()) << 32

    def run(self, x: Array) -> Array:
        """(R, D) → (R, U)."""
        sums = x @ self._weight.T + self._offset + self._noise[self._reads(x)]
        return sums.clip(-self._saturation, self._saturation)

    def _reads(self, x: Array) -> Array:
        """Return an index into the table of noise for every read, (R, U).

        A hash of the input's bits, the weights and the column: runs repeat, and a row does not depend on
        others, but two reads have the same noise only if they read the same.
        """
        first, second, third = map(np.uint64, _ODD)
        column = np.arange(x.shape[1], dtype=np.uint64) * second + first
        rows = (x.view(np.uint32).astype(np.uint64) * column).sum(1, keepdims=True)
        columns = np.arange(len(self._offset), dtype=np.uint64) * third + np.uint64(self._set)
        mixed = (rows ^ (rows >> np.uint64(31)) ^ columns) * second
        return ((mixed ^ (mixed >> np.uint64(29))) * third) >> np.uint64(48)  # type: ignore[no-any-return]


class Crossbar(nn.Module):
    """Dense layer on an analog crossbar, whose faults are unknown and which has no derivative.

    The weights W are set before every pass. Cells have a few conductances and a gain of their own, columns an
    offset, sums have noise and saturate. Only a rule that needs no derivative, such as `directional`, learns
    inside it. There is no activation: use the handoff `relu`.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: number of columns U.
        device: seed of the faults; another number is another device.
        bits: bits of a conductance.
        reach: r, the largest weight that can be set.
        gain: standard deviation of the gain of a cell.
        offset: standard deviation of the offset of a column.
        noise: standard deviation of the noise of a read.
        saturation: limit of the absolute value of a sum.
        derivative: "none", or "ideal": that of the layer without faults, x Wᵀ, so that gradients can be
            compared (Wright et al. 2022, arXiv:2104.13386, train physical systems in this way).
    """

    examples = ({"units": 6, "derivative": "ideal"},)

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Size,
        device: Natural = 0,
        bits: Annotated[int, Field(ge=2, le=16)] = 6,
        reach: Positive = 1.0,
        gain: NonNegative = 0.2,
        offset: NonNegative = 0.5,
        noise: NonNegative = 0.05,
        saturation: Positive = 4.0,
        derivative: Literal["none", "ideal"] = "none",
    ) -> None:
        super().__init__()
        inputs = math.prod(in_shape)
        self.weight = nn.Parameter(torch.randn(units, inputs) / math.sqrt(inputs))
        self.device = Device((units, inputs), device, bits, reach, gain, offset, noise, saturation)
        self.derivative = derivative

    def forward(self, x: Tensor) -> Tensor:
        """(R, *in_shape) → (R, U)."""
        rows = dense(x).flatten(1)
        self.device.program(array(self.weight.float()))
        read = torch.from_numpy(self.device.run(array(rows.float())))
        made = read.to(rows)
        if self.derivative == "none":
            return made
        ideal = F.linear(rows, self.weight.to(rows.dtype))
        return made + (ideal - ideal.detach())
