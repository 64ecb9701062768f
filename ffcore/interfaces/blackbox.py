"""The contract of black boxes: parts between blocks that nobody can differentiate.

R rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context


class BlackBox(Component):
    """Anything between blocks that makes rows of rows. No graph reaches it, none leaves it.

    Its stage in the network sees to the rest: rows are split to `limit`, what comes back becomes dense, of
    the input's number format and on its device, and is checked.

    Attributes:
        limit: most rows of one call; None: any number.
        movable: whether every rank of a run may have one of its own; False where there is only one, such as a
            device at a port.
    """

    limit: int | None = None
    movable: bool = True

    def setup(self, context: Context) -> None:
        """Look at the shape of one sample of the input, ``context.shape``, before anything else is called.

        Raises:
            ValueError: when it cannot take samples of this shape.
        """

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Adapt to what the blocks before it hand on, (R, *shape) a batch.

        Before the first batch is learned, and again when the recipe's ``fit`` says so. What is learned here
        belongs into the state (buffers, or ``get_extra_state``).
        """

    @abstractmethod
    def forward(self, x: Tensor) -> Any:
        """(R, *shape) → (R, *shape'): a tensor or an array, dense or sparse, of any real number format.

        Every call has to give samples of the same shape, also before `fit`. ``x`` may not be changed.
        """

    def close(self) -> None:
        """Let go of processes and files; it may be called again, and used again, afterwards."""
