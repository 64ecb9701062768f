"""SoftHebb: soft winner-take-all Hebbian learning.

    y_nk = ± softmax_k(τ u_nk)                     + for the channel with the largest u_n, − for the others
    Δw_k = Σ_n y_nk x_n − (Σ_n y_nk u_nk) w_k      divided by the largest |Δw| of the layer
    w_k ← w_k + η √|‖w_k‖ − 1| Δw_k

n the positions of all samples, of all ranks; x_n (D,) the patch that the weight multiplies; u_n = W x_n (U,);
W (U, D) with rows w_k; τ the inverse temperature; η the rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import Block, LearningRule, Out, Views, dense, ranks
from ffcore.interfaces.affine import Layer, calls_of, columns, layer_of
from ffcore.interfaces.network import Handoff
from ffcore.interfaces.rule import Call
from ffcore.options import Positive


class SoftHebb(LearningRule):
    """Hebbian learning of a layer's weights from its inputs, without labels, a loss or a gradient.

    Journé, Garcia Rodriguez, Guo and Moraitis 2023, arXiv:2209.11883, the formulas of the authors' code. All
    layers learn together, in one epoch of small batches. A bias does not learn.

    Args:
        rate: η; the update of a layer has a largest entry of η √|‖w_k‖ − 1|.
        temperature: 1/τ.

    Raises:
        UserError: when the body does not have one affine layer.
    """

    def __init__(self, rate: Positive = 0.01, temperature: Positive = 1.0) -> None:
        super().__init__()
        self.rate, self.temperature = rate, temperature
        self._calls: list[tuple[Tensor, Tensor]] = []

    def run(self, block: Block, inputs: tuple[Tensor, ...], views: Views, handoff: Handoff) -> Out:
        """Run the block without a graph, and note the input and the output of its layer."""
        with torch.no_grad(), calls_of(_layer(block)) as seen:
            out = block.make(tuple(map(dense, inputs)), views, handoff=handoff)
        self._calls += seen
        return out

    @torch.no_grad()
    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """Change the weights; see `ffcore.interfaces.LearningRule.learn`.

        Raises:
            UserError: when the window has several blocks.
        """
        seen, self._calls = self._calls, []
        if len(window) != 1 or len(seen) != 1:
            raise UserError("rule soft-hebb: needs windows of one block that runs once")
        ((block, _, _),) = window
        layer, (x, u) = _layer(block), seen[0]
        patches = columns(layer, x[: views.samples])
        rows = u[: views.samples].movedim(1, -1).flatten(0, -2)
        weight = layer.weight.flatten(1)
        change = update(weight, patches, rows, 1 / self.temperature)
        change /= change.abs().max().clamp_min(torch.finfo(change.dtype).tiny)
        lengths = weight.norm(dim=1, keepdim=True)
        layer.weight += (self.rate * (lengths - 1).abs().sqrt() * change).view_as(layer.weight)
        return [{}]


def update(weight: Tensor, x: Tensor, u: Tensor, sharpness: float) -> Tensor:
    """Return Δw (U, D) before it is scaled, of the rows of all ranks; see the formulas of this module.

    Args:
        weight: W (U, D).
        x: (n, D) patches.
        u: (n, U) = x Wᵀ.
        sharpness: τ.
    """
    y = torch.softmax(sharpness * u, dim=1)
    winners = u.argmax(1, keepdim=True)
    y = (-y).scatter(1, winners, y.gather(1, winners))
    group = ranks()
    return group.sum(y.T @ x) - group.sum((y * u).sum(0)).unsqueeze(1) * weight


def _layer(block: Block) -> Layer:
    try:
        return layer_of(block.body)
    except ValueError as error:
        raise UserError(f"block {block.name}: rule soft-hebb: {error}") from error
