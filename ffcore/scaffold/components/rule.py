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
        # of the body and the goodness, which may have weights too
        parts = [part for block, _, _ in window for part in (block.body, block.goodness) if part is not None]
        parameters = [p for part in parts for p in part.parameters() if p.requires_grad]
        total = torch.stack([term for terms in losses for term in terms.values()]).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.sign()
        return [{name: term.detach() for name, term in terms.items()} for terms in losses]
