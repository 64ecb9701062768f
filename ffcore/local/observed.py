"""What passes without learning give: goodness, evidence of every call, and outputs of blocks.

R rows = all views of a batch; K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ffcore.interfaces import Block, Observer, Out, Task, Views
from ffcore.interfaces.task import same_positions
from ffcore.local.returned import evidence_of, read_of


class Observed(ABC):
    """A network whose passes can be observed: `LocalNetwork`, or `Attached`, whose passes have a graph."""

    task: Task

    @property
    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """The local blocks in the order of their first call, without the readouts."""

    @property
    def _reads(self) -> dict[Any, range]:
        """The calls of a block that count, by block; of others the last."""
        return {}

    @abstractmethod
    def observe(self, views: Views, *observers: Observer) -> Any:
        """Run one pass without learning, with these observers; return the output of the last stage."""

    def goodness(self, views: Views) -> list[Tensor]:
        """Run one pass without learning; return each block's `Goodness.evidence`, in order of the blocks.

        For a block that runs several times it is the mean over `Circuit.reads` in a circuit, and that of the
        last call elsewhere.
        """
        seen, reads = self._calls(views), self._reads
        made = [read_of(seen[block], reads.get(block)) for block in self.blocks if block in seen]
        return made if self.task.features is None else same_positions(made)

    def trace(self, views: Views) -> list[list[Tensor]]:
        """Run one pass without learning; return the evidence of every call, by block."""
        seen = self._calls(views)
        return [seen[block] for block in self.blocks if block in seen]

    def outputs(self, views: Views) -> dict[str, Out]:
        """See `ffcore.interfaces.Network.outputs`."""
        made: dict[str, Out] = {}
        self.observe(views, lambda block, _, out, __: made.update({block.name: out}))
        return made

    def _calls(self, views: Views) -> dict[Block, list[Tensor]]:
        seen: dict[Block, list[Tensor]] = {}
        self.observe(views, collecting(seen))
        return seen


def collecting(seen: dict[Block, list[Tensor]]) -> Observer:
    """Return an observer that adds the evidence of every call to that of its block."""

    def collect(block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views) -> None:
        if out.goodness is not None and block.goodness is not None:
            seen.setdefault(block, []).append(evidence_of(block, out.goodness))

    return collect
