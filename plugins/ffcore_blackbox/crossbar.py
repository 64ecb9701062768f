"""An analog crossbar: a fixed linear layer on simulated imperfect hardware.

    W' = m ⊙ W (1 + σ ξ) (1 + t)^(−ν);  y = ADC(clamp(x W'ᵀ))

R rows; D inputs; U outputs; x (R, D); W, W', m, ξ, ν (U, D); y (R, U).
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ffcore.interfaces import BlackBox
from ffcore.options import BelowOne, Natural, NonNegative, Positive, Size
from ffcore_blackbox.codes import rounded

_PROGRAM = 0x6372  # seed of the target weights, equal for all devices


class Crossbar(BlackBox):
    """Fixed random weights on a device with faults, y = ADC(clamp(W' x)).

    The target weights W ~ N(0, 1/D) are the same for every device. A device has conductances
    W' = m ⊙ W (1 + σ ξ) (1 + t)^(−ν): ξ ~ N(0, 1) are programming errors, m marks dead cells, and (1 +
    t)^(−ν) is drift after t hours, with ν ~ N(0.05, 0.02²) per cell. Sums saturate at ±``saturation`` and are
    read with ``bits`` bits. A network that is trained with one device adapts to its faults.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: number of outputs U.
        device: the device: seed of its faults.
        noise: σ, standard deviation of programming errors.
        hours: t, time since programming.
        dead: share of dead cells.
        saturation: limit of the absolute value of a sum; None: no limit.
        bits: bits of the converter; None: exact.
    """

    weight: Tensor
    examples = ({"units": 6}, {"units": 5, "device": 3, "bits": None, "saturation": None})

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Size,
        device: Natural = 0,
        noise: NonNegative = 0.1,
        hours: Annotated[float, Field(ge=0, le=1e9)] = 0.0,
        dead: BelowOne = 0.01,
        saturation: Positive | None = 3.0,
        bits: Annotated[int, Field(ge=1, le=24)] | None = 8,
    ) -> None:
        super().__init__()
        if bits is not None and saturation is None:
            raise ValueError("saturation: a converter needs a range; set it, or set bits to null")
        self.saturation, self.bits = saturation, bits
        inputs = math.prod(in_shape)
        # Three further seeds per device: programming, drift, dead cells.
        meant = _normal(_PROGRAM, units, inputs) / math.sqrt(inputs)
        programmed = meant * (1 + noise * _normal(3 * device + 1, units, inputs))
        exponents = 0.05 + 0.02 * _normal(3 * device + 2, units, inputs)
        alive = torch.rand(units, inputs, generator=_seeded(3 * device + 3)) >= dead
        self.register_buffer("weight", alive * programmed * (1 + hours) ** -exponents)

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, U)."""
        sums: Tensor = x.flatten(1) @ self.weight.to(x).T
        if self.saturation is None:
            return sums
        sums = sums.clamp(-self.saturation, self.saturation)
        if self.bits is None:
            return sums
        place = (sums + self.saturation) / (2 * self.saturation)
        return rounded(place, self.bits) * (2 * self.saturation) - self.saturation


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=_seeded(seed))
