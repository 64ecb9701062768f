"""The distribution of a run over ranks, as the engine uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ffcore.engine.partial_epoch import PartialEpoch
from ffcore.interfaces import ALONE, Ranks, Views
from ffcore.local import LocalNetwork

T = TypeVar("T")


class Distribution:
    """The distribution of a run on one rank, and the interface for several ranks.

    Attributes:
        ranks: all ranks of the run.
        learning: the ranks that share each training batch, one of each replica of the network. With S ranks
            for each replica, rank r belongs to replica r // S.
    """

    ranks: Ranks = ALONE
    learning: Ranks = ALONE

    @property
    def measuring(self) -> Ranks:
        """The ranks that share each batch of validation and test."""
        return self.ranks

    def applied(self, fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Return what moves or converts a parameter or buffer of the module in place of ``fn``."""
        return fn

    def home(self, device: torch.device) -> torch.device:
        """Return where the whole network is after training: the device of this rank, or the CPU."""
        return device

    @property
    def counts(self) -> bool:
        """Whether this rank gets the evidence of the batches that it measures."""
        return True

    def measured(self, measure: Callable[[], T]) -> T | None:
        """Run a measurement on one replica of the network; return its result on rank 0, None on others."""
        return measure() if self.ranks.rank == 0 else None

    def begin(self, network: LocalNetwork, batches: Iterable[Views]) -> None:
        """Called when training begins.

        Args:
            network: the network with its weights, optimisers and plan.
            batches: the views of the training split.
        """

    def end(self) -> None:
        """Called when training ends or pauses without a failure."""

    def abandon(self) -> None:
        """Called when training has failed on some rank: no other rank can be waited for."""

    def owns(self, name: str) -> bool:
        """Return whether the block or readout of a name learns on this rank."""
        return True

    def placement(self) -> list[dict[str, Any]]:
        """Return what each rank has, if blocks are divided; see `ffcore.run.placement`. All ranks call it."""
        return []

    def settle(self, module: nn.Module) -> None:
        """Make parameters and buffers equal on all ranks."""

    def buffers(self, module: nn.Module) -> dict[str, Tensor]:
        """Return the buffers that may differ between ranks within an epoch, by name."""
        return {}

    def mine(self, states: Sequence[PartialEpoch], replicas: int) -> PartialEpoch:
        """Return the partial epoch state from which this rank resumes.

        If the number of replicas is the same, a rank resumes that of its replica. Otherwise the first
        replica resumes the sum of all.

        Args:
            states: the partial epoch states of all ranks that saved the checkpoint.
            replicas: the number of replicas that saved it.
        """
        ranks = len(states) // replicas  # the ranks of a replica had different blocks
        of_replicas = [_joined(states[i : i + ranks]) for i in range(0, len(states), ranks)]
        if replicas == self.learning.world:
            own = of_replicas[self.learning.rank]
        else:
            own = _joined(of_replicas)
            own = own if self.learning.rank == 0 else own.emptied()
        return own.only(self.owns)


def _joined(states: Sequence[PartialEpoch]) -> PartialEpoch:
    return states[0] if len(states) == 1 else PartialEpoch.merged(states)
