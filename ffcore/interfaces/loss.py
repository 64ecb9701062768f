"""The contracts of local losses: objectives on the goodness, penalties on anything a block made."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from ffcore.interfaces.component import Component
from ffcore.interfaces.goodness import Form
from ffcore.interfaces.network import Block
from ffcore.interfaces.views import Out, Views


class Objective(Component):
    """What a block wants of its goodness.

    ``accepts`` is the form of goodness it can read. ``couples_samples`` says that the loss of one sample
    depends on the others of the batch (contrast within a batch, batch statistics), so that it has to be
    gathered over ranks to stay the same.

    Attributes:
        column_of: (K,) column of the goodness by which each class is judged; None: its own. The network sets
            it before it calls `setup`.
    """

    accepts: ClassVar[Form] = "energy"
    couples_samples: ClassVar[bool] = False
    column_of: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("column_of", None, persistent=False)

    def targets(self, views: Views) -> Tensor:
        """(N,) columns of the goodness by which the samples' true classes are judged."""
        assert views.y is not None, "classes are learned from labelled samples"
        return views.y if self.column_of is None else self.column_of[views.y]

    @abstractmethod
    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """The loss, a scalar: a mean over samples of (R,) or (R, K) goodness."""

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor] | None:
        """The loss, and its derivative with respect to the goodness, in closed form.

        Returns:
            A scalar, and (R,) or (R, K) as the goodness; None: there is no closed form, autograd does it.
        """
        return None

    def boundary(self) -> float | None:
        """The goodness that divides good from bad, for pictures; None where there is none."""
        return None


class Penalty(Component):
    """A further term of a block's loss: entropy, orthogonality, peer normalisation.

    ``reads_handoff`` keeps the handoff's graph alive for terms that look at it.
    """

    couples_samples: ClassVar[bool] = False
    reads_handoff: ClassVar[bool] = False

    @abstractmethod
    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """The term, a scalar, already weighted."""


class LocalLoss(Component):
    """All terms of a block's loss. Most authors write an Objective or a Penalty and never see this seam."""

    couples_samples: bool = False
    reads_handoff: bool = False

    @abstractmethod
    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Scalars by name; the block learns on their sum."""

    def with_derivative(self, out: Out, views: Views) -> tuple[dict[str, Tensor], Tensor] | None:
        """Those, and their sum's derivative with respect to the activity, in closed form.

        Asked of blocks without a goodness.

        Returns:
            Scalars by name, and a tensor like ``out.activity``; None: autograd does it.
        """
        return None
