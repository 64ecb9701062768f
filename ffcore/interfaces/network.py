"""What components see of blocks and networks, whoever implements them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn

from ffcore.interfaces.context import Context
from ffcore.interfaces.goodness import Goodness
from ffcore.interfaces.views import Out, Views


@dataclass(frozen=True, slots=True)
class Source:
    """One source of evidence about the class: a block with a goodness, or a readout."""

    name: str
    role: Literal["block", "readout"]


Handoff = Literal["attached", "detached", "unused"]
"""What a pass needs of a handoff: with a graph, without one, or nothing unless an observer reads it."""


class Block(Protocol):
    """A local block, as losses, learning rules and observers see it."""

    name: str
    body: nn.Module
    goodness: Goodness | None
    info: Context | None

    def make(
        self,
        inputs: tuple[Tensor, ...],
        views: Views,
        *,
        handoff: Handoff = "attached",
        measured: bool = True,
    ) -> Out:
        """What the block makes of its inputs; grad mode decides whether there is a graph.

        Args:
            inputs: (R, *shape) each.
            views: the pass.
            handoff: whether it is part of the graph; "unused": no later block reads it.
            measured: whether the goodness is computed.
        """

    def losses(self, out: Out, views: Views) -> dict[str, Tensor]:
        """The terms of the block's local loss, by name; empty where it has none."""


class Observer(Protocol):
    """Sees every block of a pass: meters, probes, traces."""

    def __call__(self, block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views) -> None:
        """See what ``block`` made of ``inputs``; ``out`` is not yet detached."""


class Network(Protocol):
    """A module with local blocks inside, as an algorithm sees it."""

    classes: int

    @property
    def stages(self) -> Sequence[nn.Module]:
        """What a pass goes through one after another: blocks, boxes, circuits, whatever there is."""

    @property
    def circuits(self) -> Sequence[nn.Module]:
        """Those of its stages that are a `Circuit`."""

    @property
    def blocks(self) -> Sequence[Block]:
        """The local blocks, in the order of their first call."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Sources of evidence: blocks with a goodness in order, then readouts."""

    @property
    def readouts(self) -> Iterable[str]:
        """Names of the readouts."""

    def learn(self, views: Views) -> None:
        """One pass in which the blocks learn, each before the next one runs."""

    def goodness(self, views: Views) -> list[Tensor]:
        """One pass without learning: what every block's goodness says of the rows, (R,) or (R, K) each.

        Of a block that runs more than once it is the mean over `Circuit.reads`, or the last outside circuits.
        """

    def trace(self, views: Views) -> list[list[Tensor]]:
        """That of every call of every block, in order."""

    def read(self, views: Views, *, learn: bool = False) -> dict[str, Tensor]:
        """One pass in which the blocks do not learn: (R, K) logits of every readout.

        Args:
            views: usually one neutral view.
            learn: whether the readouts learn from ``views.y``; their logits are those before the update.
        """
