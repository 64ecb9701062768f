"""Reports which blocks each rank of a run has, and how much of the network it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L

from ffcore.engine.module import ForwardOnly


class Placement(L.Callback):
    """Prints one line for each rank of a pipeline when learning begins, and keeps the figures.

    Args:
        show: receives each line, on rank 0; None: the figures are kept only.

    Attributes:
        rows: of each rank ``rank, blocks, cost, parameters, whole``: the share of the measured or counted
            cost, the bytes of parameters and buffers that it holds, and those of the whole network; empty
            unless blocks are divided.
    """

    def __init__(self, show: Callable[[str], None] | None) -> None:
        self.show = show
        self.rows: list[dict[str, Any]] = []
        self._began = False

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """Report before the first batch: the blocks have been divided."""
        if self._began:
            return
        self._began = True
        assert isinstance(pl_module, ForwardOnly)
        self.rows = pl_module.distribution.placement()
        if self.show is not None and trainer.is_global_zero:
            for row in self.rows:
                self.show(line(row))


def line(row: dict[str, Any]) -> str:
    """Return the line of a rank.

    >>> line({"rank": 1, "blocks": ["dense3"], "cost": 0.48, "parameters": 3 << 20, "whole": 7 << 20})
    'rank 1: dense3 (48 % of the cost), 3.0 of 7.0 MiB of parameters'
    """
    cost = "" if row["cost"] is None else f" ({100 * row['cost']:.0f} % of the cost)"
    unit, name = (2**20, "MiB") if row["whole"] >= 2**20 else (2**10, "KiB")
    held, whole = (row[key] / unit for key in ("parameters", "whole"))
    blocks = ", ".join(row["blocks"])
    return f"rank {row['rank']}: {blocks}{cost}, {held:.1f} of {whole:.1f} {name} of parameters"
