"""The contract of goodness functions."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from torch import Tensor

from ffcore.interfaces.component import Component

Form = Literal["energy", "class"]


class Goodness(Component):
    """A function of a block's activity that the block learns to make high or low.

    ``form`` is the shape of the result, and has to match the objective's when a network is built:
    ``"energy"`` is one number per row, (R,); ``"class"`` is one number per row and class, (R, K), or fewer
    columns if classes share a column. Then ``column_of`` (K,) is the column of each class. `setup` makes it,
    and objectives find it in their `Context`. In a task by position every position is a row, and its activity
    is (D,).

    A goodness that compares rows of a pass sets ``reads_views`` and has a second argument:
    ``forward(activity, views=None)``. It must take any views, such as one view "all" without targets. Tasks
    by position refuse it. If the goodness of one sample depends on other samples of the batch, set
    ``couples_samples`` too: it is then computed from the rows of all ranks.
    """

    form: ClassVar[Form] = "energy"
    reads_views: ClassVar[bool] = False
    couples_samples: ClassVar[bool] = False
    column_of: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        # Not persistent: setup makes it again.
        self.register_buffer("column_of", None, persistent=False)

    @abstractmethod
    def forward(self, activity: Tensor) -> Tensor:
        """Return the goodness of each row, (R, *shape) → (R,) or (R, columns)."""

    def evidence(self, goodness: Tensor) -> Tensor:
        """Return the goodness of every class, (R, *P, columns) → (R, *P, K); energies unchanged."""
        return goodness if self.column_of is None else goodness[..., self.column_of]

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor | None:
        """Return the gradient of a scalar with respect to the activity, in closed form.

        Args:
            activity: (R, *shape).
            up: derivative of the scalar with respect to this goodness, (R,) or (R, K).

        Returns:
            (R, *shape), or None without a closed form; then autograd is used.
        """
        return None
