"""Counts the calls of black boxes in a run, by purpose, over resumptions and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import lightning as L

from ffcore.interfaces import Ranks
from ffcore.local import BoxStage
from ffcore.local.box_use import PURPOSE, Use, added


class BoxUse(L.Callback):
    """Marks passes of training steps as learning, and keeps the counts in checkpoints.

    Args:
        stages: the black boxes of the network.
        ranks: all ranks of the run.
    """

    def __init__(self, stages: Sequence[BoxStage], ranks: Ranks) -> None:
        self._stages, self._ranks = stages, ranks
        for stage in stages:
            stage.use = {}

    def on_train_batch_start(self, *args: Any) -> None:
        """Passes learn from now on."""
        PURPOSE.set("learning")

    def on_train_batch_end(self, *args: Any) -> None:
        """Passes measure from now on."""
        PURPOSE.set("measuring")

    def state_dict(self) -> dict[str, Any]:
        """Return the counts of all ranks."""
        return total(self._stages, self._ranks)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts; the first rank has those of all."""
        for stage in self._stages:
            known = state_dict.get(stage.name, {}) if self._ranks.rank == 0 else {}
            stage.use = {purpose: Use(**use) for purpose, use in known.items()}


def total(stages: Sequence[BoxStage], ranks: Ranks) -> dict[str, Any]:
    """Return ``calls, rows, seconds, counts`` of all ranks, by box and purpose. All ranks call it."""
    if not stages:
        return {}
    made = {}
    of_ranks = ranks.objects([stage.use for stage in stages])
    for stage, uses in zip(stages, zip(*of_ranks, strict=True), strict=True):
        use = reduce(added, uses)
        made[stage.name] = {
            purpose: {**of._asdict(), "counts": dict(of.counts)}
            for purpose, of in use.items()
            if purpose != "building"
        }
    return made
