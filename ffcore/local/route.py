"""The contract of learning passes that are not a loop over all stages: on several ranks, or around a box."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from ffcore.interfaces import Block
from ffcore.local.passes import Pass

if TYPE_CHECKING:
    from ffcore.local.network import LocalNetwork


class Route(ABC):
    """Runs learning passes; see `ffcore.ranks.span` and `ffcore.local.overlap`."""

    @abstractmethod
    def learn(self, network: LocalNetwork, here: Pass, stages: range) -> None:
        """Run a pass in which this process's blocks learn.

        Args:
            network: the network with the stages.
            here: the pass.
            stages: the stages of the pass, if all ran in this process.
        """

    @abstractmethod
    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """Run a pass for readouts that learn; return whether they learn in this process.

        Args:
            network: the network with the stages.
            here: the pass; its observers write the handoffs to ``handed_on``.
            handed_on: receives the handoff of each block.
        """

    def settle(self, network: LocalNetwork) -> None:  # noqa: B027
        """Finish the passes that have begun. Called before any other use of the weights.

        By default nothing: each pass of `learn` is finished when it returns.
        """
