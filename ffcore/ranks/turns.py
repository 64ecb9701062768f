"""A circuit whose blocks are on several ranks: each makes the turns of its blocks and sends the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from ffcore.interfaces import Block, Turn, Turns, Views
from ffcore.interfaces.turns import sendable
from ffcore.local import LocalBlock, LocalNetwork, Pass
from ffcore.local.route import Route
from ffcore.ranks.group import Group

T = TypeVar("T")


class TurnByTurn(Route, Turns):
    """Runs the whole circuit on every rank of a line; only the blocks of this rank compute and learn.

    Args:
        spans: the blocks of each rank of the line.
        line: the ranks of the line, which get the same samples; a group of its own, which is closed when the
            training ends or fails.
        device: the device of this rank.
        measures: whether passes that measure run here too: ranks hold only their own blocks.
        compare: is called with the views of the first batch.
    """

    copied = False

    def __init__(
        self,
        spans: Sequence[Sequence[nn.Module]],
        line: Group,
        device: torch.device,
        measures: bool,
        compare: Callable[[Views], None],
    ) -> None:
        self.line, self.device = line, device
        self.measures = measures
        self._rank_of = {block: rank for rank, blocks in enumerate(spans) for block in blocks}
        self._compare: Callable[[Views], None] | None = compare
        self._learns = False

    # -- turns --------------------------------------------------------------------------------------------

    def shared(self, *turns: Turn) -> list[Tensor]:
        """Make the turns of this rank, and exchange the results; see `Turns.shared`."""
        if not self._divided:
            return super().shared(*turns)
        ranks = [self._rank_of[block] for block, _ in turns]
        # all of them before the first exchange: the other ranks compute theirs meanwhile
        made = [
            sendable(block, function()) if rank == self.line.rank else None
            for rank, (block, function) in zip(ranks, turns, strict=True)
        ]
        for rank in sorted(set(ranks)):
            places = [i for i, of in enumerate(ranks) if of == rank]
            own = [t for i in places if (t := made[i]) is not None]
            for i, t in zip(places, self.line.spread(own, len(places), rank, self.device), strict=True):
                made[i] = t
        return [t for t in made if t is not None]

    def own(self, block: nn.Module, function: Callable[[], T]) -> T | None:
        """Make a turn if this rank holds its block; see `Turns.own`."""
        return None if self._divided and self._rank_of[block] != self.line.rank else function()

    @property
    def _divided(self) -> bool:
        """Whether all ranks of the line make turns now.

        Raises:
            RuntimeError: when other ranks may not, but hold the weights.
        """
        if self.measures and not (self._learns or self.joint):
            raise RuntimeError(self.refusal)
        return self._learns or self.measures

    # -- passes -------------------------------------------------------------------------------------------

    def learn(self, network: LocalNetwork, here: Pass, stages: range) -> None:
        """Run the circuit; this rank's blocks learn."""
        if self._compare is not None:
            self._compare(here.views)
            self._compare = None
        with self._learning():
            here.run(network.stages, here.views.x)

    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """Not called: a network with readouts is refused, since they read all blocks."""
        raise AssertionError("a circuit on several ranks has no readouts")

    def goodness(self, network: LocalNetwork, here: Pass, found: dict[Block, list[Tensor]]) -> None:
        """Run the circuit; every rank gets the evidence of all calls of all blocks."""
        here.run(network.stages, here.views.x)
        measured = [block for block in network.blocks if block.goodness is not None]
        stacked = self.shared(*((block, partial(_stacked, found, block)) for block in measured))
        found.update((block, list(calls)) for block, calls in zip(measured, stacked, strict=True))

    def close(self) -> None:
        """End the exchange: ranks that wait for this one after its failure raise a `LostError`."""
        self.line.close()

    @contextmanager
    def _learning(self) -> Iterator[None]:
        self._learns = True
        try:
            yield
        finally:
            self._learns = False


def _stacked(found: dict[Block, list[Tensor]], block: LocalBlock) -> Tensor:
    return torch.stack(found[block])
