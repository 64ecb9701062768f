"""The loss of a block of NoProp.

    L_t = η/2 · T (SNR(t) − SNR(t − 1)) · mean_n ‖softmax(G_n) − u_y(n)‖²

N samples; K classes; T blocks; G (N, K) the block's class goodness; u_y (K,) the one-hot vector of class y.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Block, Context, LocalLoss, Out, Views
from ffcore.options import Positive
from ffcore_noprop.denoiser import Denoiser


class Denoising(LocalLoss):
    """Squared error of the predicted label, weighted by how much signal the block's step adds.

    Li, Teh and Pascanu 2025, arXiv:2503.24322, equation 8 without the terms that no block learns from. The
    factor T (SNR(t) − SNR(t − 1)) is that of a block of `denoisers`, and 1 for any other body.

    Args:
        eta: η.
    """

    reads_classes: ClassVar[bool] = True
    example_recipe: ClassVar[Mapping[str, Any]] = {"block": {"goodness": "linear-head"}}

    def __init__(self, eta: Positive = 0.1) -> None:
        super().__init__()
        self.eta = eta

    def setup(self, context: Context) -> None:
        """Check the goodness.

        Raises:
            ValueError: when it is not one of classes.
        """
        if context.goodness is None or context.goodness.form != "class" or context.column_of is not None:
            raise ValueError("loss denoising: needs a goodness of every class, such as logits")

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return one term, "objective"."""
        assert out.goodness is not None, "set up with a goodness"
        assert views.y is not None, "classes are learned from labelled samples"
        goodness = out.goodness[: views.samples]
        # in bfloat16 the square of a small error would be lost
        with torch.autocast(goodness.device.type, enabled=False):
            estimate = goodness.to(torch.promote_types(goodness.dtype, torch.float32)).softmax(1)
            error = (estimate - F.one_hot(views.y, estimate.shape[1])).square().sum(1).mean()
            gain = block.body.gain if isinstance(block.body, Denoiser) else 1.0
            return {"objective": self.eta / 2 * gain * error}
