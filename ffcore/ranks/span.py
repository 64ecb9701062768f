"""The stages of one rank of a pipeline, and what passes from rank to rank."""

from __future__ import annotations

from torch import Tensor

from ffcore.interfaces import Block
from ffcore.local import LocalBlock, LocalNetwork, Pass
from ffcore.local.route import Route
from ffcore.ranks.link import Link


class Span(Route):
    """Stages ``stages`` of a network; rows come from the rank before and go to the rank after.

    Args:
        stages: the rank's own.
        last: whether no rank comes after it; readouts are the last one's.
        link: to the neighbours.
    """

    def __init__(self, stages: range, last: bool, link: Link) -> None:
        self.stages = stages
        self.last = last
        self.link = link

    def learn(self, network: LocalNetwork, here: Pass) -> None:
        """This rank's stages learn from what the rank before has made."""
        views, x = here.views, here.views.x
        if self.stages.start > 0:
            x, *upstream = self.link.receive("learn", views.samples)
            views.upstream.extend(upstream)
        x = here.run(network.stages[self.stages.start : min(self.stages.stop, network.stop)], x)
        if not self.last:
            self.link.send("learn", [x, *views.upstream], views.samples)

    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """The last rank's readouts need what the blocks of all ranks hand on."""
        views, x = here.views, here.views.x
        if self.stages.start > 0:
            x, *tapped = self.link.receive("read", views.samples)
            handed_on.update(zip(_tapped(network, self.stages.start), tapped, strict=True))
        x = here.run(network.stages[self.stages.start : self.stages.stop], x)
        if not self.last:
            tapped = [handed_on[block] for block in _tapped(network, self.stages.stop)]
            self.link.send("read", [x, *tapped], views.samples)
        return self.last


def _tapped(network: LocalNetwork, stop: int) -> list[LocalBlock]:
    """Blocks that readouts listen to, of the stages before ``stop``."""
    parts = {part for stage in network.stages[:stop] for part in stage.modules()}
    heard = {block for taps in network.taps.values() for block in taps}
    return [block for block in network.blocks if block in heard and block in parts]
