"""Turns of the blocks of a circuit: what only the rank that holds a block can compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from ffcore.errors import UserError, a

T = TypeVar("T")

Turn = tuple[nn.Module, Callable[[], Tensor]]
"""A block of a circuit, and a function that uses the parameters of this block and of no other."""


DTYPES = (
    *(torch.float32, torch.float64, torch.bfloat16, torch.float16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
"""Types of tensors that ranks send each other."""

DIMS = 6
"""Most dimensions of such a tensor."""


class Turns:
    """Makes the turns of a circuit, all of them in this process; and the interface of several ranks.

    On several ranks each makes the turns of its own blocks. All ranks call the same methods in the same
    order.
    """

    def shared(self, *turns: Turn) -> list[Tensor]:
        """Make turns that do not read each other's results, and return their results in order.

        Args:
            turns: a block and a function each. The function may call the block, which then learns in a
                learning pass, or read its parameters. It returns a dense tensor of at most six dimensions
                of real numbers, integers or truth values. Every rank gets every result, without a graph.

        Raises:
            UserError: a result is not such a tensor.
        """
        return [sendable(block, function()) for block, function in turns]

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


def sendable(block: nn.Module, made: Tensor) -> Tensor:
    """Return the result of a turn that ranks can send.

    Args:
        block: the block of the turn.
        made: its result.

    Raises:
        UserError: they cannot; also in one process, so that the circuit is wrong everywhere.
    """
    if isinstance(made, Tensor):
        if made.dtype in DTYPES and made.dim() <= DIMS and made.layout is torch.strided:
            return made
        of = f"a tensor {tuple(made.shape)} of {str(made.dtype).removeprefix('torch.')}"
        of += "" if made.layout is torch.strided else f" that is {str(made.layout).removeprefix('torch.')}"
    else:
        of = a(type(made).__name__)
    raise UserError(
        f"Turns.shared: the turn of block {getattr(block, 'name', block)} returned {of}; it should return a "
        f"dense tensor of at most {DIMS} dimensions of real numbers, integers or truth values"
    )
