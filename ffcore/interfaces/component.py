"""The base class of all components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ffcore.interfaces.context import Context


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of training: ``epoch`` (from 0) of ``epochs``, and ``step``, the number of batches learned."""

    epoch: int
    step: int
    epochs: int


class Component(nn.Module):
    """A part that a recipe names: a plain class with typed, documented constructor arguments.

    The parameters of a block's body, goodness, objective and penalties learn with the block; those of a
    readout learn with the readout. Trainable parameters of other components would never learn and raise an
    error.
    """

    def setup(self, context: Context) -> Any:
        """Make parameters and buffers that depend on shapes, and check the shapes.

        Called once, when the shapes are known and before the component is used. A direct subclass of this
        class need not call ``super().setup(context)``.

        Args:
            context: shapes and names; each field states which components get it.

        Returns:
            None, except for `Algorithm`, `LabelCode` and `Readout`.

        Raises:
            ValueError: when the component does not fit the shapes or the network.
        """

    def advance(self, progress: Progress) -> None:
        """Update what depends on the progress, such as temperatures and warm-ups, before every batch.

        Keep the values in buffers: checkpoints then contain them.
        """

    def arrays(self) -> dict[str, Tensor]:
        """Return arrays that a report may plot, by name. They are stored in the run's ``arrays.npz``."""
        return {}
