"""The contract of goodness functions."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from torch import Tensor

from ffcore.interfaces.component import Component

Form = Literal["energy", "class"]


class Goodness(Component):
    """How good a block finds its activity.

    ``form`` says what comes out and is checked against the objective when a network is built: ``"energy"``
    is one number a row, (R,); ``"class"`` is one number a row and class, (R, K), or fewer columns where
    several classes share one. ``column_of`` (K,) then says by which column each class is judged; objectives
    find it in their `Context`. It is made in `setup`.
    """

    form: ClassVar[Form] = "energy"
    column_of: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("column_of", None, persistent=False)

    @abstractmethod
    def forward(self, activity: Tensor) -> Tensor:
        """Goodness of each row: (R, *shape) → (R,) or (R, columns)."""

    def evidence(self, goodness: Tensor) -> Tensor:
        """What a goodness says of every class: (R, columns) → (R, K); energies stay as they are."""
        return goodness if self.column_of is None else goodness[:, self.column_of]

    def vjp(self, activity: Tensor, up: Tensor) -> Tensor | None:
        """Gradient of a scalar with respect to the activity, in closed form.

        Args:
            activity: (R, *shape).
            up: derivative of the scalar with respect to this goodness, (R,) or (R, K).

        Returns:
            (R, *shape), or None where there is no closed form: autograd does it then.
        """
        return None
