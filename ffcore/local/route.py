"""The contract of passes whose stages are placed on several ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from ffcore.interfaces import Block
from ffcore.local.passes import Pass

if TYPE_CHECKING:
    from ffcore.local.network import LocalNetwork


class Route(ABC):
    """Runs a pass through stages that are placed on several ranks; see `ffcore.ranks.span`."""

    @abstractmethod
    def learn(self, network: LocalNetwork, here: Pass) -> None:
        """Run a pass in which this process's blocks learn."""

    @abstractmethod
    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """Run a pass for readouts that learn; return whether they learn in this process.

        Args:
            network: the network with the stages.
            here: the pass; its observers write the handoffs to ``handed_on``.
            handed_on: receives the handoff of each block.
        """
