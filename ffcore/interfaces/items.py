"""The contract of networks that a recipe names in one item."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any


class Items(ABC):
    """A network by its name: ``network: [{kind: resnet17, widths: [40, 80, 160, 320]}]``.

    It stands for the items that it lists; blocks, shortcuts and black boxes are what a recipe could have
    written in its place. Nothing is built here.
    """

    @abstractmethod
    def items(self) -> Sequence[Mapping[str, Any]]:
        """Items as a recipe has them, in order."""
