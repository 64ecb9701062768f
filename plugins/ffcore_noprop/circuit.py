"""The network of NoProp: blocks that do not read each other while they learn.

    learning      block_t reads (x, z_{t−1}), z_{t−1} a noised label, for t = 1 … T in any order
    predicting    z_t = a_t softmax(block_t(x, z_{t−1})) + b_t z_{t−1}, from z_0 = 0

R rows = all views; N samples; T blocks; K classes; z_t (R, K). The coefficients are those of `diffusion`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ffcore.interfaces import Circuit, Context, Views
from ffcore.parts import path_of
from ffcore_noprop.denoiser import EXAMPLE, LAYER, Denoiser
from ffcore_noprop.diffusion import Diffusion


class Denoisers(Circuit):
    """T blocks, each of which predicts the class from the sample and a noised label.

    Li, Teh and Pascanu 2025, arXiv:2503.24322, NoProp-DT with one-hot labels. A pass with hypotheses gives
    every block the noised label of its level, so that no block reads another; a pass without them chains the
    blocks. The circuit's output is that of the last block.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        image: the bodies of every block's image net, in order.
        steps: number of blocks T.
        layer: body of the label net and of the two layers that join both nets.
    """

    needs_hypotheses: ClassVar[bool] = True
    independent: ClassVar[bool] = True
    calls, reads = 1, range(1)
    codes: Tensor
    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"steps": 3, **EXAMPLE},)
    example_recipe: ClassVar[Mapping[str, Any]] = {
        "algorithm": "noprop",
        "block": {"goodness": "logits", "loss": "denoising"},
    }

    def __init__(
        self,
        in_shape: tuple[int, ...],
        image: Annotated[Sequence[Any], Field(min_length=1)],
        steps: Annotated[int, Field(ge=1, le=1000)] = 10,
        layer: Any = LAYER,
    ) -> None:
        super().__init__()
        self.in_shape, self.image, self.layer = in_shape, tuple(image), layer
        self.diffusion = Diffusion(steps)
        self.denoisers = nn.ModuleList()

    def setup(self, context: Context) -> None:
        """Make one block for each step."""
        assert context.block is not None, "the context of a circuit has a function that makes blocks"
        path = path_of(self, "denoisers")
        for t, gain in enumerate(self.diffusion.gains, 1):
            body = Denoiser(self.in_shape, context.classes, self.image, self.layer, path, gain)
            self.denoisers.append(context.block(f"block{t}", body))
        # the last row is that of −1, a row without a hypothesis
        codes = torch.eye(context.classes + 1, context.classes)
        self.register_buffer("codes", codes, persistent=False)

    def forward(self, x: Tensor, views: Views) -> Tensor:
        """Return the logits of the last block, (R, K)."""
        if views.hypothesis is None:
            z = self.codes.new_zeros(x.shape[0], self.codes.shape[1])
            return self.diffusion.chained(self.denoisers, x, z)
        logits = x
        for t, block in enumerate(self.denoisers):
            logits = block(x, self.noised(t, views))
        return logits

    def alone(self, block: nn.Module, x: Tensor, views: Views) -> None:
        """See `ffcore.interfaces.Circuit.alone`."""
        block(x, self.noised(list(self.denoisers).index(block), views))

    def noised(self, t: int, views: Views) -> Tensor:
        """Return z_t (R, K) of the hypotheses; without random numbers its mean."""
        assert views.hypothesis is not None, "passes without hypotheses are predictions"
        u, rng = self.codes[views.hypothesis], views.rng
        if rng is None:
            return self.diffusion.noised(t, u, torch.zeros_like(u))
        # (N, views, K) from the batch RNG, which is indexed by sample, then stacked view by view
        drawn = rng.normal(f"noprop {t}", u.shape[0] // rng.rows, u.shape[1]).transpose(0, 1)
        return self.diffusion.noised(t, u, drawn.reshape(u.shape).to(u.dtype))
