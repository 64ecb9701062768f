"""A linear readout that is solved for in closed form; see `ffcore_closed.ridge`."""

from __future__ import annotations

from ffcore.interfaces import LearningRule
from ffcore.options import NonNegative
from ffcore_closed.ridge import Ridge
from ffcore_std.readouts import Softmax


class RidgeReadout(Softmax):
    """Linear classifier or regression on the handoffs of blocks, solved for at the end of every epoch.

    It reads what the blocks hand on during the epoch: after an epoch in which no block has learned it is
    exact for the network.

    Args:
        taps: names of the blocks to read. None: as for `Softmax`.
        strength: λ of the ridge.
    """

    def __init__(self, taps: tuple[str, ...] | None = None, strength: NonNegative = 1.0) -> None:
        super().__init__(taps)
        self.strength = strength

    def rule(self) -> LearningRule:
        """Return the rule `Ridge`."""
        return Ridge(self.strength)
