"""The stages of one rank of a pipeline, and the messages between ranks."""

from __future__ import annotations

from torch import Tensor

from ffcore.interfaces import Block
from ffcore.local import LocalBlock, LocalNetwork, Pass
from ffcore.local.route import Route
from ffcore.ranks.link import Incoming, Outgoing


class Span(Route):
    """Runs the stages of one rank: rows are received from the previous rank and sent to the next.

    Args:
        stages: the stages of this rank.
        before: the messages from the previous rank; None on the first.
        after: the messages to the next rank; None on the last, which has the readouts.
    """

    def __init__(self, stages: range, before: Incoming | None, after: Outgoing | None) -> None:
        self.stages = stages
        self.before = before
        self.after = after

    def learn(self, network: LocalNetwork, here: Pass, stages: range) -> None:
        """Let this rank's stages learn from the handoff of the previous rank."""
        views, x = here.views, here.views.x
        if self.before is not None:
            x, *upstream = self.before.receive("learn", views.samples)
            views.upstream.extend(upstream)
        x = here.run(network.stages[self.stages.start : min(self.stages.stop, network.stop)], x)
        if self.after is not None:
            self.after.send("learn", [x, *views.upstream], views.samples)

    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """Run this rank's stages and pass on the handoffs that the readouts of the last rank need."""
        views, x = here.views, here.views.x
        if self.before is not None:
            x, *tapped = self.before.receive("read", views.samples)
            handed_on.update(zip(_tapped(network, self.stages.start), tapped, strict=True))
        x = here.run(network.stages[self.stages.start : self.stages.stop], x)
        if self.after is None:
            return True
        tapped = [handed_on[block] for block in _tapped(network, self.stages.stop)]
        self.after.send("read", [x, *tapped], views.samples)
        return False

    def close(self) -> None:
        """Finish all transfers."""
        # the previous rank ends its messages without waiting for this one, so no order can block
        if self.after is not None:
            self.after.close()
        if self.before is not None:
            self.before.close()


def _tapped(network: LocalNetwork, stop: int) -> list[LocalBlock]:
    """Returns the blocks in the stages before ``stop`` whose handoffs readouts use."""
    parts = {part for stage in network.stages[:stop] for part in stage.modules()}
    used = {block for taps in network.taps.values() for block in taps}
    return [block for block in network.blocks if block in used and block in parts]
