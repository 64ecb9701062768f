"""The contract of learning rules: how the blocks of a window learn from their local losses.

R rows = all views of a batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ffcore.interfaces.component import Component
from ffcore.interfaces.network import Block, Handoff
from ffcore.interfaces.ranks import Ranks
from ffcore.interfaces.views import Out, Views

Call = tuple[Block, tuple[Tensor, ...], Out]
"""One call of a block: the block, its inputs and its output."""


@dataclass(frozen=True, slots=True)
class Solution:
    """How a rule solves for an affine layer at the end of an epoch: [W b]ᵀ = (A + λ I)⁻¹ B.

    Attributes:
        sums: keys of the rule's extra state, which begins an epoch at zero; "a" and "b" are A and B.
        strength: λ.
        weight: W (U, …).
        bias: b (U,), whose input is the last column of A; None for a layer without one.
    """

    sums: tuple[str, ...]
    strength: float
    weight: Tensor
    bias: Tensor | None


class LearningRule(Component):
    """How the blocks of a window learn. The default is a gradient step on the sum of their losses.

    A window learns by the rule of its last block.

    The pass calls `run` for each block of the window, then `learn` once. Then the block optimisers step with
    the gradients in ``.grad``. A rule that changes parameters itself leaves ``.grad`` empty.

    Attributes:
        accumulates: whether a group of accumulated batches learns as one. False for a rule that changes
            parameters with every batch: ``trainer.accumulate`` above 1 is then refused.
        alone: whether its windows have one block only. A schedule with other windows is then refused.
    """

    accumulates: ClassVar[bool] = True
    alone: ClassVar[bool] = False

    def run(self, block: Block, inputs: tuple[Tensor, ...], views: Views, handoff: Handoff) -> Out:
        """Run a block so that `learn` can use its output; by default with autograd's graph.

        Args:
            block: the block.
            inputs: (R, *shape) each; detached for the first block of a window.
            views: the views of the pass.
            handoff: "attached" if later blocks of the window, or the loss, need its graph (`Block.make`).
        """
        with torch.enable_grad():
            return block.make(inputs, views, handoff=handoff)

    @abstractmethod
    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """Put gradients into ``.grad``, or change parameters.

        Args:
            window: blocks that share a graph, in the order of their calls, with inputs and outputs.
            views: the views of the pass.

        Returns:
            For each entry of the window the detached terms of its loss, for the metrics.
        """

    def solution(self, block: Block) -> Solution | None:
        """Return how `finish` solves, for exports to engines without torch; None: it does nothing."""
        return None

    def finish(self, block: Block, ranks: Ranks) -> None:
        """Finish an epoch: a closed-form rule solves here for the parameters from its gathered statistics.

        Also called for blocks that did not learn in the epoch. A rule without statistics must not change
        them.
        """
