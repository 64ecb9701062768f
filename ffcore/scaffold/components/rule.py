"""How a block learns from its loss.

    ∂W = sign(∂L/∂W)          in place of the gradient

L the local loss of the block, summed over its terms; W each of its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ffcore.interfaces import LearningRule, Views
from ffcore.interfaces.rule import Call


class Mine(LearningRule):
    """Only the signs of the gradient. The block's optimiser steps with what is left in ``.grad``."""

    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """Set ``.grad``; return the detached terms of each block's loss.

        A rule that needs no graph overrides `run`, and reads activities and inputs in ``window``.

        Raises:
            ValueError: when a block has no loss.
        """
        losses = []
        for block, _, out in window:
            losses.append(block.losses(out, views))
            if not losses[-1]:
                raise ValueError(f"block {block.name} has no objective")
        parameters = [p for block, _, _ in window for p in block.body.parameters() if p.requires_grad]
        total = torch.stack([term for terms in losses for term in terms.values()]).sum()
        for parameter, gradient in zip(parameters, torch.autograd.grad(total, parameters), strict=True):
            parameter.grad = gradient.sign()
        return [{name: term.detach() for name, term in terms.items()} for terms in losses]
