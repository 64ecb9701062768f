"""The callback that writes a row an epoch into ``metrics.csv``."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import lightning as L

from ffcore.engine.module import ForwardOnly
from ffcore.local import GoodnessLoss, LocalBlock


class History(L.Callback):
    """Losses, goodness and separation of every block, validation accuracy, time: one row an epoch.

    Attributes:
        seconds: time spent learning so far, without validation.
        samples: samples learned so far.

    Args:
        path: the CSV file, which must not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds = 0.0
        self.samples = 0
        self._began = 0.0
        self._learning = False
        self._validated = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the head of the table."""
        assert isinstance(pl_module, ForwardOnly)
        self._columns = [
            *("epoch", "step", "seconds", "samples_per_s", "lr", "val_accuracy"),
            *(f"val/{source.name}" for source in pl_module.network.sources),
            *(c for block in pl_module.network.learners.values() for c in _columns(block)),
        ]
        self._write({name: name for name in self._columns}, "x")

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._began = time.perf_counter()
        self._learning = True
        self._validated = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count samples."""
        self.samples += len(batch.x)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock: the epoch's learning is over."""
        self._stop()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note that there are fresh figures."""
        self._validated = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's row."""
        assert isinstance(pl_module, ForwardOnly)
        self._stop()
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "seconds": round(self.seconds, 3),
            "samples_per_s": round(self.samples / max(self.seconds, 1e-9), 1),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
        }
        if self._validated:
            row["val_accuracy"] = pl_module.val_figures["accuracy"]
            for source, hits in zip(
                pl_module.network.sources, pl_module.val_figures["per_source"], strict=True
            ):
                row[f"val/{source.name}"] = hits
        for block, figures in pl_module.meter.read().items():
            row |= {f"{block}/{name}": value for name, value in figures.items()}
        self._write(row, "a")

    def _stop(self) -> None:
        if self._learning:
            self.seconds += time.perf_counter() - self._began
            self._learning = False

    def _write(self, row: dict[str, Any], mode: str) -> None:
        with self.path.open(mode, newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)


def _columns(block: LocalBlock) -> list[str]:
    names = ["loss"] if block.loss is not None else []
    if isinstance(block.loss, GoodnessLoss):
        names += list(block.loss.penalties)
        if block.goodness is not None and block.goodness.kind == "energy":
            names += ["positive", "negative", "separation"]
    return [f"{block.name}/{name}" for name in names]
