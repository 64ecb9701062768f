"""The contract of black boxes: parts between blocks that need no gradient.

R rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context


class BlackBox(Component):
    """Any function of rows between two blocks. Its input and its output have no autograd graph.

    `BoxStage` calls it: it splits the rows into calls of at most `limit`, and converts the output to a dense
    tensor with the dtype and device of the input, which it checks. Of integer inputs, such as tokens, integer
    outputs become int64 and real ones torch's default dtype.

    Attributes:
        limit: maximum number of rows of one call; None: any number.
        movable: whether every rank of a run may have its own copy; False for a single resource, such as a
            device at a port.
        reads_targets: whether `fit` gets targets too.
    """

    limit: int | None = None
    movable: bool = True
    reads_targets: bool = False

    @property
    def adapts(self) -> bool:
        """Whether `fit` has an effect: whether the class has one of its own. Override it as a property."""
        return type(self).fit is not BlackBox.fit

    @property
    def counts(self) -> Mapping[str, int]:
        """Growing counts of its own, by name, which results and report show beside calls and rows."""
        return {}

    def setup(self, context: Context) -> None:
        """Check the shape of one sample of the input, ``context.shape``. Called before the other methods.

        Raises:
            ValueError: when the box does not accept samples of this shape.
        """

    def fit(self, batches: Iterable[Any]) -> None:
        """Adapt to the inputs of the box, the handoffs of the blocks before it, (R, *shape) per batch.

        With ``reads_targets`` a batch is a pair: the inputs (N, *shape) of the samples, which are the rows of
        the first view, and their targets (N, ...) as in the data set.
        Called before the first batch is learned, and again at the time set by the recipe's ``fit``. Keep the
        result in the module's state (buffers, or ``get_extra_state``).
        """

    @property
    def observes(self) -> bool:
        """Whether `observe` has an effect, likewise."""
        return type(self).observe is not BlackBox.observe

    def observe(self, x: Tensor, y: Tensor | None) -> None:
        """Learn from a batch, after it has been answered: an online learner.

        Called in every pass in which blocks learn, but not while the blocks before the box are cached. A run
        on several ranks refuses such a box: each would see a part of the batches.

        Args:
            x: (N, *shape) inputs of the samples, the rows of the first view.
            y: their targets (N, ...), or None.
        """

    @abstractmethod
    def forward(self, x: Tensor) -> Any:
        """Return a tensor or an array, dense or sparse, of any real dtype: (R, *shape) → (R, *shape').

        One number a row, (R,), is taken as one feature, (R, 1).
        Every call must return samples of the same shape, also before `fit`. ``x`` must not be changed.
        """

    def close(self) -> None:
        """Release processes and files. The box may be used and closed again afterwards."""
