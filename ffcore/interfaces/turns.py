"""Turns of the blocks of a circuit: what only the rank that holds a block can compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

T = TypeVar("T")

Turn = tuple[nn.Module, Callable[[], Tensor]]
"""A block of a circuit, and a function that uses the parameters of this block and of no other."""


class Turns:
    """Makes the turns of a circuit, all of them in this process; and the interface of several ranks.

    On several ranks each makes the turns of its own blocks. All ranks call the same methods in the same
    order.
    """

    def shared(self, *turns: Turn) -> list[Tensor]:
        """Make turns that do not read each other's results, and return their results in order.

        Args:
            turns: a block and a function each. The function may call the block, which then learns in a
                learning pass, or read its parameters. Every rank gets every result, without a graph.
        """
        return [function() for _, function in turns]

    def own(self, block: nn.Module, function: Callable[[], T]) -> T | None:
        """Make a turn whose result only later turns of the same block read; so nothing is sent.

        Args:
            block: the block.
            function: as in `shared`, with any result.

        Returns:
            The result; None on a rank that does not hold the block.
        """
        return function()


HERE = Turns()
"""All turns are made in this process."""
