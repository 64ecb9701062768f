"""The contract of black boxes: parts between blocks that nobody can differentiate."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from torch import Tensor

from ffcore.interfaces.component import Component


class BlackBox(Component):
    """Any callable between blocks. It never sees a tensor that requires grad, and no graph crosses it."""

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Adapt to what the blocks before it hand on, (R, *shape) a batch."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape')."""

    def close(self) -> None:
        """Let go of processes and files."""
