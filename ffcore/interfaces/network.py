"""Blocks and networks as components see them: protocols without an implementation.

R rows = all views of a batch; K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
"""How a handoff is computed: with a graph, without a graph, or only if an observer reads it."""


class Block(Protocol):
    """A local block, as losses, learning rules and observers see it.

    Attributes:
        features: in a task by position, the dimension of an activity that holds the features of a position.
    """

    name: str
    body: nn.Module
    goodness: Goodness | None
    info: Context | None
    features: int | None

    def make(
        self,
        inputs: tuple[Tensor, ...],
        views: Views,
        *,
        handoff: Handoff = "attached",
        measured: bool = True,
    ) -> Out:
        """Run the block. The result has a graph if grad mode is on.

        Args:
            inputs: (R, *shape) each.
            views: the views of the pass.
            handoff: whether the handoff is part of the graph; "unused" if no later block reads it.
            measured: whether to compute the goodness.
        """

    def losses(self, out: Out, views: Views) -> dict[str, Tensor]:
        """Return the terms of the block's local loss, by name; empty for a block without a loss."""


class Observer(Protocol):
    """A function that a pass calls after each block, for example to measure it."""

    def __call__(self, block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views) -> None:
        """Receive the inputs and outputs of ``block``; ``out`` is not yet detached."""


class Network(Protocol):
    """A module that contains local blocks, as an algorithm sees it."""

    classes: int

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The stages of a pass, in order: blocks, circuits, black boxes and other modules."""

    @property
    def circuits(self) -> Sequence[nn.Module]:
        """The stages that are a `Circuit`."""

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
        """Run one pass in which the blocks learn, each before the next one runs."""

    def goodness(self, views: Views) -> list[Tensor]:
        """Run one pass without learning; return the goodness of every block, (R,) or (R, K) each.

        For a block that runs several times it is the mean over `Circuit.reads` in a circuit, and that of the
        last call elsewhere.
        """

    def outputs(self, views: Views) -> Mapping[str, Out]:
        """Run one pass without learning; return the output of every block, of its last call, by name.

        For algorithms that compare activities: similarities, centroids, neighbours, or two passes.
        """

    def trace(self, views: Views) -> list[list[Tensor]]:
        """Run one pass without learning; return the goodness of every call of every block, in order."""

    def read(self, views: Views, *, learn: bool = False) -> dict[str, Tensor]:
        """Run one pass in which the blocks do not learn; return the logits (R, K) of every readout.

        Args:
            views: usually one neutral view.
            learn: whether the readouts learn from ``views.y``. The logits are those before the update.
        """
