"""The contract of whole networks that a recipe names in one item."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any


class Items(ABC):
    """A network that a recipe names: ``network: [{kind: resnet17, widths: [40, 80, 160, 320]}]``.

    The items that it returns replace it in the recipe: blocks, shortcuts and black boxes. It does not build
    any module itself.
    """

    @abstractmethod
    def items(self) -> Sequence[Mapping[str, Any]]:
        """Return the network's items as a recipe would contain them, in order."""
