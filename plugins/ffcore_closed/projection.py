"""Forward projection: hidden layers in closed form, from random projections of samples and labels.

    z = sign(x Q) + sign(U_y)                 targets of the layer before its activation
    [W b]ᵀ = (A + λ I)⁻¹ B                    see `ffcore_closed.ridge`

x (n, D) rows that the weight multiplies; Q (D, units) and U (K, units) standard normal, fixed; z (n, units).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import Context, Views, c99
from ffcore.options import NonNegative
from ffcore_closed.ridge import Ridge


class ForwardProjection(Ridge):
    """Solves for a hidden layer in one pass, without a backward pass and without a loss.

    O'Shea and Rajendran 2026, arXiv:2501.16476. The targets of a layer are a random code of its own inputs
    plus a random code of the class; of a convolution those of every patch. Use it with the schedule `greedy`
    and an epoch for each layer, and `ridge` for the output layer.

    Args:
        strength: λ.

    Raises:
        UserError: as for `Ridge`.
        ValueError: when targets are not classes.
    """

    example_units: ClassVar[int | None] = None
    seed: Tensor

    def __init__(self, strength: NonNegative = 10.0) -> None:
        super().__init__(strength)
        # of torch's random numbers, which a recipe seeds; stored, so that Q and U are drawn again
        self.register_buffer("seed", torch.randint(2**31, ()))
        self.depth = 0
        self._codes: tuple[int, Tensor, Tensor] | None = None

    def setup(self, context: Context) -> None:
        """Keep the depth: copies of a rule draw other codes in other blocks.

        Raises:
            ValueError: when targets are not classes.
        """
        super().setup(context)
        if self.sort != "class":
            raise ValueError(f"rule forward-projection: codes classes, not the targets of {context.task}")
        self.depth = context.depth

    def targets(self, x: Tensor, units: int, views: Views) -> Tensor:
        """See `Ridge.targets`."""
        y = views.y
        assert y is not None, "checked in setup"
        of_samples, of_classes = self._drawn(x, units)
        codes = of_classes[y].repeat_interleave(x.shape[0] // y.shape[0], dim=0)
        return torch.sign(x @ of_samples) + codes

    def c99(self, inputs: int, units: int) -> c99.RidgeSums:
        """Return the C form of a layer; see `ffcore.interfaces.c99`.

        Raises:
            ValueError: when the layer is that of the goodness.
        """
        self._refuse_c99()
        x = torch.zeros(1, inputs, dtype=torch.float64)  # in the precision of the sums, as `targets` draws
        return c99.RidgeSums(self.strength, *self._drawn(x, units))

    def _drawn(self, x: Tensor, units: int) -> tuple[Tensor, Tensor]:
        """Return Q and the signs of U."""
        seed = int(self.seed) + self.depth
        if self._codes is None or self._codes[0] != seed or self._codes[1].device != x.device:
            rng = torch.Generator().manual_seed(seed)
            q = torch.randn(x.shape[1], units, generator=rng, dtype=x.dtype)
            u = torch.randn(self.classes, units, generator=rng, dtype=x.dtype)
            self._codes = seed, q.to(x.device), u.sign().to(x.device)
        return self._codes[1:]
