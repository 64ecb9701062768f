"""The contract of layer contributions: how evidence becomes one score a class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from ffcore.interfaces.component import Component
from ffcore.interfaces.network import Source


class LayerContribution(Component):
    """Combines the evidence of L sources.

    ``needs`` names what `observe` has to be fed with: ``train.loss``, ``val.loss`` (one mean loss a block) or
    ``val.scores`` ((L, N, K) evidence and the classes). All of it is reduced over ranks before.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    def attend(self, sources: Sequence[Source]) -> None:
        """Learn which sources there are, in the order of the scores.

        Raises:
            ValueError: when the source that it should use is not there.
        """

    def observe(self, split: str, losses: Tensor | None, scores: Tensor | None, y: Tensor | None) -> None:
        """See an epoch's figures of ``split`` ("train" or "val"), as asked for in ``needs``."""

    @abstractmethod
    def combine(self, scores: Tensor) -> Tensor:
        """(L, N, K) evidence → (N, K) scores; the largest is the prediction."""
