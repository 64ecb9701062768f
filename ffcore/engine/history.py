"""The callback that writes a row an epoch into ``metrics.csv``."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import lightning as L

from ffcore.engine.module import ForwardOnly
from ffcore.files import write_whole

_FIRST = ("epoch", "step", "seconds", "samples_per_s", "lr", "val_accuracy")


class History(L.Callback):
    """Losses, goodness and separation of every block, validation accuracy, time: one row an epoch.

    Attributes:
        seconds: time spent learning so far, without validation.
        samples: samples learned so far.
        resumed: after which steps the run was taken up again.

    Args:
        path: the CSV file; None, on all ranks but the first, writes none.
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
        self._goes_on = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock: a run that goes on within an epoch sees no beginning of it."""
        if self._goes_on:
            self.resumed.append(trainer.global_step)
        self._start()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count samples."""
        self.samples += batch.total

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock: the epoch's learning is over."""
        self._stop()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note that there are fresh metrics; a run that ends after its row was written is validated then."""
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
        """The last epoch's."""
        return dict(self._rows[-1]) if self._rows else {}

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, and the counts."""
        running = time.perf_counter() - self._began if self._learning else 0.0
        return {
            "rows": [dict(row) for row in self._rows],
            "seconds": self.seconds + running,
            "samples": self.samples,
            "resumed": list(self.resumed),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after these rows."""
        self._rows = [dict(row) for row in state_dict["rows"]]
        self.seconds, self.samples = state_dict["seconds"], state_dict["samples"]
        self.resumed = list(state_dict["resumed"])
        self._goes_on = True

    def _start(self) -> None:
        self._began = time.perf_counter()
        self._learning = True
        self._validated = False

    def _stop(self) -> None:
        if self._learning:
            self.seconds += time.perf_counter() - self._began
            self._learning = False

    def _write(self) -> None:
        """Write all rows anew: blocks that begin to learn bring columns of their own."""
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
        "val_accuracy": module.val_metrics["accuracy"],
        **{f"val/{source.name}": share for source, share in hits},
        **{f"val/{name}": mean for name, mean in measures},
    }
