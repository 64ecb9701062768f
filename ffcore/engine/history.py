"""The callback that writes one row per epoch to ``metrics.csv``."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import Any

import lightning as L

from ffcore.engine.module import ForwardOnly
from ffcore.files import write_whole

_FIRST = ("epoch", "step", "seconds", "samples_per_s", "lr", "val_accuracy")


class History(L.Callback):
    """Writes losses, goodness and separation of every block, validation accuracy and time of each epoch.

    Attributes:
        seconds: training time so far, without validation.
        samples: number of samples learned so far.
        resumed: the steps after which the run was resumed.

    Args:
        path: the CSV file; None on all ranks except rank 0.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.seconds = 0.0
        self.samples = 0
        self.resumed: list[int] = []
        self._rows: list[dict[str, Any]] = []
        self._began = 0.0
        self._learning = False
        self._validated = False
        self._resuming = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the timer. A run that is resumed within an epoch does not get ``on_train_epoch_start``."""
        if self._resuming:
            self.resumed.append(trainer.global_step)
        self._start()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the timer."""
        self._start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count samples."""
        self.samples += batch.total

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the timer, since the training part of the epoch is over."""
        self._stop()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note that there are new metrics.

        A run that ends within an epoch is validated after its row was written; the metrics are added to it.
        """
        self._validated = True
        if self._rows and self._rows[-1]["step"] == trainer.global_step:
            self._rows[-1] |= _validation(pl_module)
            self._write()

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
            row |= _validation(pl_module)
        for block, metrics in pl_module.meter.read().items():
            row |= {f"{block}/{name}": value for name, value in metrics.items()}
        self._rows.append(row)
        self._write()

    @property
    def row(self) -> dict[str, Any]:
        """The row of the last epoch."""
        return dict(self._rows[-1]) if self._rows else {}

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the counts."""
        running = time.perf_counter() - self._began if self._learning else 0.0
        return {
            "rows": [dict(row) for row in self._rows],
            "seconds": self.seconds + running,
            "samples": self.samples,
            "resumed": list(self.resumed),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore rows and counts. Values of another type raise: the checkpoint is damaged."""
        self._rows = [dict(row) for row in state_dict["rows"]]
        self.seconds, self.samples = float(state_dict["seconds"]), int(state_dict["samples"])
        self.resumed = [int(step) for step in state_dict["resumed"]]
        self._resuming = True

    def _start(self) -> None:
        self._began = time.perf_counter()
        self._learning = True
        self._validated = False

    def _stop(self) -> None:
        if self._learning:
            self.seconds += time.perf_counter() - self._began
            self._learning = False

    def _write(self) -> None:
        """Write all rows again: a block that begins to learn adds columns to the header."""
        if self.path is None:
            return
        columns = dict.fromkeys(column for known in self._rows for column in known)
        order = [c for c in _FIRST if c in columns] + [c for c in columns if c not in _FIRST]

        def write(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, order)
                table.writeheader()
                table.writerows(self._rows)

        write_whole(self.path, write)


def _validation(module: L.LightningModule) -> dict[str, Any]:
    assert isinstance(module, ForwardOnly)
    assert module.val_metrics is not None
    hits = zip(module.sources, module.val_metrics["per_source"], strict=True)
    measures = module.val_metrics["measures"].items()
    return {
        **{f"val_{name}": module.val_metrics[name] for name in module.measuring.logged},
        **{f"val/{source.name}": share for source, share in hits if not math.isnan(share)},
        **{f"val/{name}": mean for name, mean in measures},
    }
