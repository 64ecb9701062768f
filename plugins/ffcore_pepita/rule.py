"""The rule of PEPITA's hidden layers.

    ∂W = 1/N Σ_n (h_n − h'_n) x'_nᵀ        in place of the gradient; of a convolution a mean over positions

N samples; x' (N, D) what the weight multiplies in the second pass; h, h' (N, U) activities of both passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import LayerRule, Network, Views
from ffcore.interfaces.affine import columns
from ffcore.interfaces.rule import Call

FIRST = "first/"
"""Before the name of a block: its activity in the first pass, in ``Views.extra``."""


class PepitaRule(LayerRule):
    """Error-driven Hebbian update, from the activities of two passes (arXiv:2201.11665, equation 5).

    The block's optimiser steps with it as with a gradient; the authors use momentum 0.9. A bias does not
    learn. Only the algorithm `pepita` makes the first pass.

    Raises:
        UserError: when the body does not have one affine layer, or the first pass is missing.
    """

    def __init__(self) -> None:
        super().__init__()

    @staticmethod
    def example_views(views: Views, net: Network) -> Views:
        """Return the views of a second pass, for the conformance kit."""
        first = {FIRST + name: out.activity for name, out in net.outputs(views).items()}
        return replace(views, x=views.x + 0.1, upstream=[], extra=first)

    @torch.no_grad()
    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """Set ``.grad`` of the weight; see `ffcore.interfaces.LearningRule.learn`.

        Raises:
            UserError: when there was no first pass, or the body pools.
        """
        layer, read = self.noted(window, views)
        ((block, _, out),) = window
        first = views.extra.get(FIRST + block.name)
        if first is None:
            raise UserError(
                f"block {block.name}: rule pepita: there is no first pass; use the algorithm pepita"
            )
        x = columns(layer, read)
        difference = (first - out.activity).movedim(1, -1).flatten(0, -2)
        if difference.shape[0] != x.shape[0]:
            raise UserError(
                f"block {block.name}: rule pepita: the body pools; put the pooling into an item of its own"
            )
        gradient = (difference.T @ x / x.shape[0]).view_as(layer.weight)
        layer.weight.grad = gradient if layer.weight.grad is None else layer.weight.grad + gradient
        return [{}]
