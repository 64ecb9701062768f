"""The contract of circuits: blocks that are wired otherwise than one after another.

R rows = all views.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Protocol

from torch import Tensor, nn

from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context
from ffcore.interfaces.loss import LocalLoss
from ffcore.interfaces.views import Views


class MakeBlock(Protocol):
    """Makes the local blocks of a circuit."""

    def __call__(self, name: str, body: nn.Module, loss: LocalLoss | None = None) -> nn.Module:
        """A local block; calling it runs it, and it learns then in a pass to learn from.

        Args:
            name: its name in tables, columns and checkpoints.
            body: module from any number of tensors to an activity, which is also what the call returns.
            loss: a loss of its own; None: the recipe's goodness, objective and penalties.
        """


class Circuit(Component):
    """A stage whose blocks see each other: recurrent layers, top-down input, a generator.

    The network calls it with the views of the pass, in a pass that learns as in one that predicts. It calls
    its blocks as often and in whatever order it likes; what it hands from one call to the next is its own
    affair (recipes give its blocks no handoff), and never carries a graph. Learning blocks learn in each of
    their calls.

    Attributes:
        needs_hypotheses: whether each of its rows has to have a hypothesis.
        calls: how often a pass to learn from calls a block.
        reads: which of a block's calls in a pass, from 0, count as evidence: the mean of their goodness.
    """

    needs_hypotheses: ClassVar[bool] = False
    calls: int
    reads: range

    @abstractmethod
    def setup(self, context: Context) -> None:
        """Make the blocks, and keep them as sub-modules.

        A network that is made by hand takes circuits that have been set up.

        Args:
            context: ``block(name, body)`` makes a block; ``shape`` of one input sample.
        """

    @abstractmethod
    def forward(self, x: Tensor, views: Views) -> Tensor:
        """Run.

        Args:
            x: what the stage before hands on; ``views.x`` for the first.
            views: the pass. Where it has no hypothesis, each block should be called at least once: shapes are
                found, and readouts read, in such a pass. Blocks learn where ``views.learns``; where it brings
                random numbers without that, somebody wants to see all the calls of a pass to learn from.

        Returns:
            What a stage after it receives.
        """
