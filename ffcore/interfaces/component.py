"""What all components have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ffcore.interfaces.context import Context


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: ``epoch`` of ``epochs`` (from 0) and the number of batches learned, ``step``."""

    epoch: int
    step: int
    epochs: int


class Component(nn.Module):
    """A part that a recipe names: a plain class with typed, documented constructor arguments.

    Parameters of what a block computes its loss from (body, goodness, objective, penalties) learn with the
    block, those of a readout with the readout. Others have nobody to train them and are refused.
    """

    def setup(self, context: Context) -> Any:
        """Make what depends on the component's place: parameters and buffers, checks of shapes.

        Called once, when the place is known and before the component is used. What the core itself needs does
        not depend on it: a subclass of this class need not call ``super().setup(context)``.

        Args:
            context: the place; each field says which components get it.

        Returns:
            Nothing, but for three kinds of components: `Algorithm`, `LabelCode`, `Readout`.

        Raises:
            ValueError: when the component does not fit its place.
        """

    def advance(self, progress: Progress) -> None:
        """Move temperatures and warm-ups on; called before every batch, results go into buffers."""

    def arrays(self) -> dict[str, Tensor]:
        """What a report may want to draw of it, by name; kept in a run's ``arrays.npz``."""
        return {}
