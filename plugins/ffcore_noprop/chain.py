"""The blocks of NoProp as one body, for backpropagation through all of them.

    z_t = a_t softmax(block_t(x, z_{t−1})) + b_t z_{t−1},  z_0 = 0        t = 1 … T − 1
    h = block_T(x, z_{T−1})

R rows; T blocks; K classes; x (R, *in_shape); h, z_t (R, K). The coefficients are those of `diffusion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from ffcore.options import Size
from ffcore.parts import path_of
from ffcore_noprop.denoiser import EXAMPLE, LAYER, Denoiser
from ffcore_noprop.diffusion import Diffusion


class DenoisingChain(nn.Module):
    """The prediction of `Denoisers` with a graph through all blocks. With a head it is their twin.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        classes: number of classes K.
        image: as for `Denoisers`.
        steps: number of blocks T.
        layer: as for `Denoisers`.
    """

    examples = ({"classes": 4, "steps": 3, **EXAMPLE},)

    def __init__(
        self,
        in_shape: tuple[int, ...],
        classes: Size,
        image: Annotated[Sequence[Any], Field(min_length=1)],
        steps: Annotated[int, Field(ge=1, le=1000)] = 10,
        layer: Any = LAYER,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.diffusion = Diffusion(steps)
        path = path_of(self, "denoising-chain")
        self.denoisers = nn.ModuleList(Denoiser(in_shape, classes, image, layer, path) for _ in range(steps))

    def forward(self, x: Tensor) -> Tensor:
        """(R, *in_shape) → (R, K)."""
        z = self.diffusion.a.new_zeros(x.shape[0], self.classes)
        return self.diffusion.chained(self.denoisers, x, z)
