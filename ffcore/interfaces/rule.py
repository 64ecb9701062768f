"""The contract of learning rules: how a block learns from its local loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor

from ffcore.interfaces.component import Component
from ffcore.interfaces.network import Block, Input
from ffcore.interfaces.ranks import Ranks
from ffcore.interfaces.views import Out, Views


class LearningRule(Component):
    """How the blocks of a window learn. The default takes a gradient step on the sum of their losses."""

    @abstractmethod
    def learn(
        self, window: Sequence[tuple[Block, tuple[Input, ...], Out]], views: Views
    ) -> Sequence[Mapping[str, Tensor]]:
        """Learn from what the blocks of one window made of their inputs.

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
