"""SoftHebb: soft winner-take-all Hebbian learning.

    y_nk = ± softmax_k(τ u_nk)                     + for the channel with the largest u_n, − for the others
    Δw_k = Σ_n y_nk x_n − (Σ_n y_nk u_nk) w_k      divided by the largest |Δw| of the layer
    w_k ← w_k + η √|‖w_k‖ − 1| Δw_k

n the positions of all samples, of all ranks; x_n (D,) the patch that the weight multiplies; u_n = W x_n (U,);
W (U, D) with rows w_k; τ the inverse temperature; η the rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import LayerRule, Views, ranks
from ffcore.interfaces.affine import columns
from ffcore.interfaces.rule import Call
from ffcore.options import Positive


class SoftHebb(LayerRule):
    """Hebbian learning of a layer's weights from its inputs, without labels, a loss or a gradient.

    Journé, Garcia Rodriguez, Guo and Moraitis 2023, arXiv:2209.11883, the formulas of the authors' code. All
    layers learn together, in one epoch of small batches. A bias does not learn. The update is in the
    precision of the weights also under autocast.

    Args:
        rate: η; the update of a layer has a largest entry of η √|‖w_k‖ − 1|.
        temperature: 1/τ.

    Raises:
        UserError: when the body does not have one affine layer, or batches are accumulated: an update is
            scaled by its largest entry, so that a sum of updates is not that of a larger batch.
    """

    accumulates: ClassVar[bool] = False

    def __init__(self, rate: Positive = 0.01, temperature: Positive = 1.0) -> None:
        super().__init__()
        self.rate, self.temperature = rate, temperature

    @torch.no_grad()
    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """Change the weights; see `ffcore.interfaces.LearningRule.learn`."""
        layer, read = self.noted(window, views)
        # bfloat16 would round Σ y x and Σ y u w, of which the update is the small difference
        with torch.autocast(read.device.type, enabled=False):
            patches = columns(layer, read[: views.samples].to(layer.weight.dtype))
            weight = layer.weight.flatten(1)
            rows = patches @ weight.T
            change = update(weight, patches, rows, 1 / self.temperature)
            change /= change.abs().max().clamp_min(torch.finfo(change.dtype).tiny)
            lengths = weight.norm(dim=1, keepdim=True)
            layer.weight.add_((self.rate * (lengths - 1).abs().sqrt() * change).view_as(layer.weight))
        return [{}]


def update(weight: Tensor, x: Tensor, u: Tensor, sharpness: float) -> Tensor:
    """Return Δw (U, D) before it is scaled, of the rows of all ranks; see the formulas of this module.

    Args:
        weight: W (U, D).
        x: (n, D) patches.
        u: (n, U) = x Wᵀ.
        sharpness: τ.
    """
    # products with subnormal numbers take ten times as long on some processors
    y = F.threshold(torch.softmax(sharpness * u, dim=1), 1e-30, 0.0)
    winners = u.argmax(1, keepdim=True)
    y = (-y).scatter(1, winners, y.gather(1, winners))
    group = ranks()
    return group.sum(y.T @ x) - group.sum((y * u).sum(0)).unsqueeze(1) * weight
