"""The contracts of local losses: objectives of the goodness, penalties of any output of a block.

N samples; R rows = all views of a batch; K classes.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from ffcore.interfaces.component import Component
from ffcore.interfaces.goodness import Form
from ffcore.interfaces.network import Block
from ffcore.interfaces.task import Target
from ffcore.interfaces.views import Out, Views


class Objective(Component):
    """A loss of the goodness.

    ``accepts`` is the form of goodness that it reads. Set ``couples_samples`` if the loss of one sample
    depends on other samples of the batch (contrast within a batch, batch statistics). The goodness is then
    gathered over ranks, and the loss does not depend on the number of ranks.

    Attributes:
        reads: the sorts of targets that it reads, of `ffcore.interfaces.task.Target`; with "none" it needs no
            targets, and takes every task.
        reads_upstream: whether it reads the goodness of other blocks, ``views.upstream``. Circuits whose
            blocks are independent or take turns refuse it.
        column_of: (K,) index of the goodness column of each class; None: class k has column k. The network
            sets it before it calls `setup`.
    """

    accepts: ClassVar[Form] = "energy"
    reads: ClassVar[frozenset[Target]] = frozenset({"class"})
    couples_samples: ClassVar[bool] = False
    reads_upstream: bool = False
    column_of: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("column_of", None, persistent=False)

    def targets(self, views: Views) -> Tensor:
        """Return the goodness columns of the samples' true classes, (N,)."""
        assert views.y is not None, "classes are learned from labelled samples"
        return views.y if self.column_of is None else self.column_of[views.y]

    @abstractmethod
    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """Return the loss of (R,) or (R, K) goodness: a scalar, the mean over samples."""

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor] | None:
        """Return the loss and its derivative with respect to the goodness, in closed form.

        Returns:
            A scalar, and (R,) or (R, K) as the goodness. None without a closed form; then autograd is used.
        """
        return None

    def boundary(self) -> float | None:
        """Return the goodness at which positives and negatives are separated, for plots; None without one."""
        return None


class Penalty(Component):
    """A further term of a block's loss: entropy, orthogonality, peer normalisation.

    Set ``reads_handoff`` if the term depends on ``out.handoff``; the handoff then has a graph. Set
    ``reads_inputs`` if it reads ``out.inputs`` and couples samples: they are then gathered over ranks. Set
    ``reads_classes`` if it reads ``views.y`` as classes (N,): the network then refuses other tasks; also
    ``reads_positions`` if it takes a class at every position too, (N, *P). Set ``teaches`` if a block may
    learn from the term alone, without an objective.
    """

    couples_samples: ClassVar[bool] = False
    reads_handoff: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = False
    reads_classes: ClassVar[bool] = False
    reads_positions: ClassVar[bool] = False
    teaches: ClassVar[bool] = False

    @abstractmethod
    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """Return the term, a scalar, with its weight applied."""


class LocalLoss(Component):
    """All terms of a block's local loss. Most plugins need only an `Objective` or a `Penalty`.

    The flags are those of `Penalty`. Set ``auxiliary`` if the block serves other blocks of a circuit and
    makes no features of its own, such as a generator: readouts leave it out by default, and probes too.
    """

    auxiliary: ClassVar[bool] = False
    reads_classes: ClassVar[bool] = False
    couples_samples: bool = False
    reads_handoff: bool = False
    reads_inputs: bool = False

    @abstractmethod
    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return the terms, scalars by name. The block minimises their sum."""

    def with_derivative(self, out: Out, views: Views) -> tuple[dict[str, Tensor], Tensor] | None:
        """Return the terms and the derivative of their sum with respect to the activity, in closed form.

        Called only for blocks without a goodness.

        Returns:
            Scalars by name, and a tensor like ``out.activity``. None without a closed form; then autograd is
            used.
        """
        return None
