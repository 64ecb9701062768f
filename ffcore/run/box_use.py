"""Counts the calls of black boxes and programs in a run, by purpose, over resumptions and ranks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import lightning as L

from ffcore.interfaces import Ranks
from ffcore.local.box_use import PURPOSE, Caller, Use, added


class BoxUse(L.Callback):
    """Marks passes of training steps as learning, and keeps the counts in checkpoints.

    Args:
        callers: the black boxes of the network, and what its blocks call, by name.
        ranks: all ranks of the run.
    """

    def __init__(self, callers: Mapping[str, Caller], ranks: Ranks) -> None:
        self._callers, self._ranks = callers, ranks
        for caller in callers.values():
            caller.use = {}

    def on_train_batch_start(self, *args: Any) -> None:
        """Passes learn from now on."""
        PURPOSE.set("learning")

    def on_train_batch_end(self, *args: Any) -> None:
        """Passes measure from now on."""
        PURPOSE.set("measuring")

    def state_dict(self) -> dict[str, Any]:
        """Return the counts of all ranks."""
        return total(self._callers, self._ranks)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts; the first rank has those of all."""
        for name, caller in self._callers.items():
            known = state_dict.get(name, {}) if self._ranks.rank == 0 else {}
            caller.use = {purpose: Use(**use) for purpose, use in known.items()}


def total(callers: Mapping[str, Caller], ranks: Ranks) -> dict[str, Any]:
    """Return ``calls, rows, seconds, counts`` of all ranks, by caller and purpose. All ranks call it."""
    if not callers:
        return {}
    made = {}
    of_ranks = ranks.objects([caller.use for caller in callers.values()])
    for name, uses in zip(callers, zip(*of_ranks, strict=True), strict=True):
        use = reduce(added, uses)
        made[name] = {
            purpose: {**of._asdict(), "counts": dict(of.counts)}
            for purpose, of in use.items()
            if purpose != "building"
        }
    return made
