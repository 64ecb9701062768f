"""How a run lies on its ranks, as the engine sees it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from ffcore.engine.partial_epoch import PartialEpoch
from ffcore.interfaces import ALONE, Ranks, Views
from ffcore.local import LocalNetwork


class Distribution:
    """A run on one rank, and what runs on several do in its place.

    Attributes:
        ranks: all of the run; they share what is measured.
        learning: those that share each training batch.
    """

    ranks: Ranks = ALONE
    learning: Ranks = ALONE

    def begin(self, network: LocalNetwork, batches: Iterable[Views]) -> None:
        """Training begins here.

        Args:
            network: with its weights, optimisers and plan.
            batches: what it learns from.
        """

    def end(self) -> None:
        """Training is over, or pauses; no rank has failed."""

    def owns(self, name: str) -> bool:
        """Whether a block or readout of that name learns on this rank."""
        return True

    def settle(self, module: nn.Module) -> None:
        """Make parameters and buffers the same on all ranks."""

    def buffers(self, module: nn.Module) -> dict[str, Tensor]:
        """Those that ranks may have different values of within an epoch."""
        return {}

    def mine(self, states: Sequence[PartialEpoch], shared: bool) -> PartialEpoch:
        """What this rank goes on with.

        Args:
            states: what all ranks of the run so far had half done.
            shared: whether each of them was of a share of the same batches; otherwise, of blocks of its own.
        """
        return states[0] if len(states) == 1 else PartialEpoch.merged(states)
