"""The network as an algorithm sees it, with one graph through all of its blocks.

No gradient crosses a block while a network learns. Some measures need one all the same: how the class scores
change with the input, and the gradient that backpropagation would give each block.

    scores = algorithm.scores(x, Attached(local))      the same numbers as of `LocalNetwork`, with a graph

N samples; R rows = all views of a batch; K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Observer, Source, Views
from ffcore.interfaces.modes import evaluating
from ffcore.local.block import LocalBlock
from ffcore.local.loss import scores_of
from ffcore.local.network import LocalNetwork
from ffcore.local.observed import Observed
from ffcore.local.passes import Pass

__all__ = ["Attached"]


class Attached(Observed):
    """A network whose passes have a graph, for `Algorithm.scores`. Its blocks do not learn.

    The network should be in evaluation mode, and grad mode on. The network does not change.

    Args:
        local: the network.

    Raises:
        UserError: the network has a circuit or a black box, through which no graph leads.

    Example:
        >>> import ffcore, torch
        >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10).eval()
        >>> x = torch.rand(2, 1, 8, 8, requires_grad=True)
        >>> scores = net.combine(net.algorithm.scores(x, Attached(net.local)))
        >>> torch.allclose(scores.detach(), net.scores(x.detach())), scores.requires_grad
        (True, True)
    """

    def __init__(self, local: LocalNetwork) -> None:
        if local.circuits:
            raise UserError("a circuit calls its blocks in turns, so that no gradient leads through it")
        if local.boxes:
            raise UserError(f"the black box {local.boxes[0].name} has no derivative")
        local.settle()
        self._local = local
        self.classes: int = local.classes
        self.stages: Sequence[nn.Module] = local.stages
        self.circuits: Sequence[nn.Module] = local.circuits
        self.task = local.task
        self.sources: tuple[Source, ...] = local.sources
        self.readouts: tuple[str, ...] = local.readouts

    @property
    def blocks(self) -> Sequence[LocalBlock]:
        """See `ffcore.interfaces.Network`."""
        return self._local.blocks

    def observe(self, views: Views, *observers: Observer) -> Any:
        """Run one pass with these observers, with its graph; return the output of the last stage."""
        return _AttachedPass(views, observers, wants_goodness=True).run(self.stages, views.x)

    def read(self, views: Views, *, learn: bool = False) -> dict[str, Tensor]:
        """See `ffcore.interfaces.Network.read`."""
        if learn:
            self.learn(views)
        local, made = self._local, self.outputs(views)
        learners = local.learners
        here = _AttachedPass(views, wants_goodness=True)
        read = {
            name: here.block(learners[name], *(made[tapped.name].handoff for tapped in local.taps[name]))
            for name in local.readout_blocks
        }
        heads = [name for name in self.readouts if name not in read]
        return {**read, **{n: scores_of(made[n].handoff, learners[n].features) for n in heads}}

    def learn(self, views: Views) -> NoReturn:
        """Raise: nothing learns here."""
        raise UserError("its class scores need blocks that learn")


class _AttachedPass(Pass):
    """A pass that detaches nothing."""

    def block(self, block: LocalBlock, *inputs: Tensor, last: bool = False) -> Tensor:
        """Run one block; return its handoff with its graph."""
        with evaluating(block):  # those of `localize` are not in the network's module tree
            out = block.make(inputs, self.views, handoff="attached", measured=True)
        self._show(block, inputs, out)
        return out.handoff
