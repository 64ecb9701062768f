"""The contract of learning rules: how a block learns from its local loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ffcore.interfaces.component import Component
from ffcore.interfaces.network import Block, Handoff
from ffcore.interfaces.ranks import Ranks
from ffcore.interfaces.views import Out, Views

Call = tuple[Block, tuple[Tensor, ...], Out]
"""A block, its inputs, and what it made of them."""


class LearningRule(Component):
    """How the blocks of a window learn. The default takes a gradient step on the sum of their losses.

    The pass calls `run` for each block of the window, then `learn` once. Then block optimisers step with what
    lies in ``.grad``. A rule that changes parameters by itself leaves ``.grad`` empty.
    """

    def run(self, block: Block, inputs: tuple[Tensor, ...], views: Views, handoff: Handoff) -> Out:
        """Run a block with what this rule needs to learn later; by default autograd's graph.

        Args:
            block: the block.
            inputs: (R, *shape) each; detached for the first block of a window.
            views: the pass.
            handoff: "attached" where later blocks of the window, or the loss, need its graph (`Block.make`).
        """
        with torch.enable_grad():
            return block.make(inputs, views, handoff=handoff)

    @abstractmethod
    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """Put gradients into ``.grad``, or change parameters.

        Args:
            window: blocks that share a graph, in the order in which they ran, with inputs and outputs.
            views: the pass.

        Returns:
            For each entry of the window the detached terms of its loss, for the record.
        """

    def finish(self, block: Block, ranks: Ranks) -> None:
        """End of an epoch: closed-form rules solve here what they gathered.

        Also called for blocks that did not learn in it: a rule that has gathered nothing leaves them alone.
        """
