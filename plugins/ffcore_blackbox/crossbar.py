"""An analog crossbar: a fixed linear layer that is computed by imperfect hardware.

R rows; D inputs; U outputs.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ffcore.interfaces import BlackBox
from ffcore.options import Count, Fraction, Natural, NonNegative, Positive
from ffcore_blackbox.codes import rounded

_PROGRAM = 0x6372  # the weights that every device is meant to have


class Crossbar(BlackBox):
    """y = ADC(clamp(W' x)): random weights that are programmed into one device with its own faults.

    W ~ N(0, 1/D) is what was meant and the same for every device. A device has conductances
    W' = m ⊙ W (1 + σ ξ) (1 + t)^(−ν): ξ ~ N(0, 1) are errors of programming, m marks dead cells, t^(−ν) is
    drift after so many hours, with ν ~ N(0.05, 0.02²) a cell. Sums saturate at ±``saturation`` and are read
    with ``bits`` bits. A network that learns behind one device has learned its faults.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: outputs U.
        device: which piece of hardware: its seed.
        noise: σ.
        hours: t, since it was programmed.
        dead: share of cells that conduct nothing.
        saturation: largest size of a sum; None: no limit.
        bits: of the converter; None: exact.
    """

    weight: Tensor
    examples = ({"units": 6}, {"units": 5, "device": 3, "bits": None, "saturation": None})

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Count,
        device: Natural = 0,
        noise: NonNegative = 0.1,
        hours: NonNegative = 0.0,
        dead: Fraction = 0.01,
        saturation: Positive | None = 3.0,
        bits: Annotated[int, Field(ge=1, le=24)] | None = 8,
    ) -> None:
        super().__init__()
        if bits is not None and saturation is None:
            raise ValueError("saturation: a converter needs a range; give one, or set bits to null")
        self.saturation, self.bits = saturation, bits
        inputs = math.prod(in_shape)
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
