"""Where the stages of a pass run, if not all of them in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from ffcore.interfaces import Block
from ffcore.local.passes import Pass

if TYPE_CHECKING:
    from ffcore.local.network import LocalNetwork


class Route(ABC):
    """The way of a pass through stages that lie on several ranks; see `ffcore.ranks.span`."""

    @abstractmethod
    def learn(self, network: LocalNetwork, here: Pass) -> None:
        """A pass in which this process's blocks learn."""

    @abstractmethod
    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """A pass for readouts that learn; whether they do so in this process.

        Args:
            network: the stages.
            here: the pass; what its blocks hand on goes to ``handed_on``.
            handed_on: what each block hands on.
        """
