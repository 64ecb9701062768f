"""The stages of one rank of a pipeline, and the messages between ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from torch import Tensor, nn

from ffcore.errors import RunError
from ffcore.interfaces import Block, Turn, Turns, Views
from ffcore.interfaces.structure import tensors
from ffcore.local import LocalBlock, LocalNetwork, Pass
from ffcore.local.returned import evidence_of
from ffcore.local.route import Route
from ffcore.ranks.link import Receiving, Sending


class Span(Route):
    """Runs the stages of one rank: rows are received from the previous rank and sent to the next.

    Args:
        stages: the stages of this rank.
        before: the messages from the previous rank; None on the first.
        after: the messages to the next rank; None on the last, which has the readouts.
        measures: whether passes that measure run here too: ranks hold only their own blocks.
        compare: is called with the views of the first batch.
    """

    copied = False

    def __init__(
        self,
        stages: range,
        before: Receiving | None,
        after: Sending | None,
        measures: bool = False,
        compare: Callable[[Views], None] | None = None,
    ) -> None:
        self.stages = stages
        self.before = before
        self.after = after
        self.measures = measures
        self.compare = compare

    def learn(self, network: LocalNetwork, here: Pass, stages: range) -> None:
        """Let this rank's stages learn from the handoff of the previous rank."""
        views, x = here.views, here.views.x
        if self.compare is not None:
            self.compare(views)
            self.compare = None
        if self.before is not None:
            x, *upstream = self.before.receive("learn", views.samples)
            views.upstream.extend(upstream)
        x = here.run(network.stages[self.stages.start : min(self.stages.stop, network.stop)], x)
        if self.after is not None:
            self.after.send("learn", [x, *views.upstream], views.samples)

    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """Run this rank's stages and pass on the handoffs that the readouts of the last rank need.

        If no readout learns, the batch is one of another size: of validation, for example.
        """
        x, rows = here.views.x, len(next(tensors(here.views.x)))
        kind, size = ("read", here.views.samples) if here.plan else ("tap", rows)
        if self.before is not None:
            x, *tapped = self.before.receive(kind, size)
            handed_on.update(zip(_tapped(network, self.stages.start), tapped, strict=True))
        x = here.run(network.stages[self.stages.start : self.stages.stop], x)
        if self.after is None:
            return True
        tapped = [handed_on[block] for block in _tapped(network, self.stages.stop)]
        self.after.send(kind, [x, *tapped], size)
        return False

    def goodness(self, network: LocalNetwork, here: Pass, found: dict[Block, list[Tensor]]) -> None:
        """Run this rank's stages; the last rank gets the evidence of all blocks, the others have zeros."""
        x, rows = here.views.x, len(next(tensors(here.views.x)))
        first, stop = self.stages.start, self.stages.stop
        if self.before is not None:
            x, *upstream = self.before.receive("measure", rows)
            here.views.upstream.extend(upstream)
            for block, goodness in zip(_measured(network, 0, first), upstream, strict=True):
                found[block] = [evidence_of(block, goodness)]
        x = here.run(network.stages[first:stop], x)
        if self.after is not None:
            self.after.send("measure", [x, *here.views.upstream], rows)
            for block in _measured(network, stop, len(network.stages)):
                assert block.goodness is not None
                shape = (rows,) if block.goodness.form == "energy" else (rows, network.classes)
                found[block] = [x.new_zeros(shape)]

    def close(self) -> None:
        """Finish all transfers."""
        # the previous rank ends its messages without waiting for this one, so no order can block
        if self.after is not None:
            self.after.close()
        if self.before is not None:
            self.before.close()

    def abandon(self) -> None:
        """End the connections after a failure, without waiting for the other ranks."""
        for link in (self.before, self.after):
            if link is not None:
                link.abandon()


class Failed(Route, Turns):
    """The network of a training that has failed on several ranks: its weights are not those of one moment.

    Args:
        guards: handles of the stages that this rank did not hold.
    """

    copied = False
    measures = True
    refusal = (
        "the training of this network has failed, and each of several ranks had a part of it: load the "
        "weights of a checkpoint, or make a new network, before you use, copy or train it"
    )

    def __init__(self, guards: Sequence[Any] = ()) -> None:
        self.guards = guards

    def learn(self, network: LocalNetwork, here: Pass, stages: range) -> None:
        """Raise: load weights first."""
        raise RunError(self.refusal)

    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """Raise: load weights first."""
        raise RunError(self.refusal)

    def goodness(self, network: LocalNetwork, here: Pass, found: dict[Block, list[Tensor]]) -> None:
        """Raise: load weights first."""
        raise RunError(self.refusal)

    def shared(self, *turns: Turn) -> NoReturn:
        """Raise: load weights first."""
        raise RunError(self.refusal)

    def own(self, block: nn.Module, function: Callable[[], Any]) -> NoReturn:
        """Raise: load weights first."""
        raise RunError(self.refusal)

    def loaded(self, network: LocalNetwork) -> None:
        """Let the network be used again."""
        network.follow(None)
        for guard in self.guards:
            guard.remove()


def _measured(network: LocalNetwork, first: int, stop: int) -> list[LocalBlock]:
    """Returns the blocks with a goodness in a range of stages, in order."""
    parts = {part for stage in network.stages[first:stop] for part in stage.modules()}
    return [block for block in network.blocks if block in parts and block.goodness is not None]


def _tapped(network: LocalNetwork, stop: int) -> list[LocalBlock]:
    """Returns the blocks in the stages before ``stop`` whose handoffs readouts use."""
    parts = {part for stage in network.stages[:stop] for part in stage.modules()}
    used = {block for taps in network.taps.values() for block in taps}
    return [block for block in network.blocks if block in used and block in parts]
