"""The contract of circuits: blocks that are connected to each other, not only in sequence.

R rows = all views.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context
from ffcore.interfaces.loss import LocalLoss
from ffcore.interfaces.turns import HERE, Turns
from ffcore.interfaces.views import Views


class MakeBlock(Protocol):
    """Makes the local blocks of a circuit."""

    def __call__(self, name: str, body: nn.Module, loss: LocalLoss | None = None) -> nn.Module:
        """Return a local block. A call of the block runs it; in a learning pass the block then learns.

        Args:
            name: the block's name in tables, columns and checkpoints.
            body: module from any number of tensors to an activity, which is also the result of the call.
            loss: the block's own loss; None: the recipe's goodness, objective and penalties.
        """


class Circuit(Component):
    """A stage whose blocks read each other's activities: recurrent layers, top-down input, a generator.

    The network calls it with the views of the pass, both for learning and for prediction. It may call its
    blocks several times and in any order. It decides which tensors it passes from one call to the next
    (recipes give its blocks no handoff); these tensors have no graph. In a learning pass a block learns in
    each of its calls.

    Attributes:
        needs_hypotheses: whether each row must have a hypothesis.
        calls: number of calls of each block in a learning pass.
        reads: indices of the calls, from 0, whose mean goodness is the block's evidence.
        independent: whether no block reads another in a learning pass; then implement `alone`. The ranks of a
            pipeline divide such blocks, and send nothing; their goodness is not in ``views.upstream``.
        takes_turns: whether the parameters of the blocks are used in turns only: each call of a block, and
            each other use of its parameters, is a turn that `forward` and other methods give to ``turns``.
            The ranks of a pipeline then divide the blocks, and send the results of turns; their goodness is
            not in ``views.upstream``.
        turns: makes the turns; on several ranks the pipeline sets it.
    """

    needs_hypotheses: ClassVar[bool] = False
    independent: ClassVar[bool] = False
    takes_turns: ClassVar[bool] = False
    turns: Turns = HERE
    calls: int
    reads: range

    @property
    def divisible(self) -> bool:
        """Whether a pipeline can divide its blocks, which then see no goodness of each other."""
        return self.independent or self.takes_turns

    @abstractmethod
    def setup(self, context: Context) -> None:
        """Make the blocks, and keep them as sub-modules.

        If you build an `ffcore.Network` from Python, call this method yourself before.

        Args:
            context: ``block(name, body)`` makes a block; ``shape`` of one input sample.
        """

    @abstractmethod
    def forward(self, x: Tensor, views: Views) -> Tensor:
        """Run the circuit.

        Args:
            x: output of the previous stage; ``views.x`` for the first.
            views: the views of the pass. Without hypotheses, call each block at least once: the dry run and
                passes for readouts have none. Blocks learn if ``views.learns``. If ``views.rng`` is set in a
                pass that does not learn, make all calls of a learning pass, since an observer records them.

        Returns:
            The input of the next stage.
        """

    def alone(self, block: nn.Module, x: Tensor, views: Views) -> None:
        """Call one block as `forward` does in a learning pass. Only for independent circuits.

        Args:
            block: a block of the circuit.
            x: as for `forward`.
            views: as for `forward`, of a learning pass.
        """
        raise NotImplementedError(f"{type(self).__name__}.alone: an independent circuit has to implement it")

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: a copy makes its turns in its own process."""
        return {name: value for name, value in self.__dict__.items() if name != "turns"}
