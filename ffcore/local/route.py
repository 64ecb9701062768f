"""Where the stages of a pass run: all of them here, or, in a pipeline, some of them on each rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ffcore.interfaces import Block
from ffcore.local.passes import Pass

if TYPE_CHECKING:
    from ffcore.local.network import LocalNetwork


class Route:
    """All stages run in this process; `ffcore.ranks.span.Span` has those of one rank."""

    def learn(self, network: LocalNetwork, here: Pass, first: int) -> None:
        """A pass from stage ``first`` to the last one in which a block learns."""
        here.run(network.stages[first : network.stop], here.views.x)

    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """A pass for readouts that learn; whether they do so in this process.

        Args:
            network: the stages.
            here: the pass; what its blocks hand on goes to ``handed_on``.
            handed_on: what each block hands on.
        """
        here.run(network.stages, here.views.x)
        return True
