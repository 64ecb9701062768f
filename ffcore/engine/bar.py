"""The progress bar of a run in the terminal."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ffcore.engine.module import ForwardOnly

_EVERY = 0.5  # seconds between two readings of the meters, since each one waits for the device


def console_of(bar: bool) -> Console | None:
    """Return the console for a progress bar and messages; None without a bar: messages are then warnings."""
    return Console(markup=False, highlight=False, emoji=False) if bar else None


class Bar(L.Callback):
    """Shows progress, validation accuracy, and the loss and separation of every block.

    In a terminal it is drawn at most twice a second. In a file or a pipe it prints one line per epoch, at
    most every ten seconds, and always one for the last epoch.

    Args:
        console: the console to draw on.
        title: the name of the run.
    """

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self._live: Live | None = None
        self._next = 0.0
        self._began = 0.0
        self._before = 0  # number of batches learned before the run was resumed

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start drawing."""
        self._began, self._before = time.monotonic(), trainer.global_step
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Redraw if the last drawing is old enough."""
        now = time.monotonic()
        if self._live is not None and now >= self._next:
            self._next = now + _EVERY
            self._live.update(self._picture(trainer, pl_module, batch_idx + 1), refresh=True)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print a line if the output is not a terminal."""
        now = time.monotonic()
        last = trainer.current_epoch + 1 == trainer.max_epochs
        if self._live is None and (now >= self._next or last):
            self._next = now + 10
            self.console.print(self._line(trainer, pl_module), highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove the bar; the command prints a table after it."""
        self._stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Restore the terminal."""
        self._stop()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.update(Text(""), refresh=True)
            self._live.stop()
            self._live = None

    def _line(self, trainer: L.Trainer, pl_module: L.LightningModule) -> str:
        assert isinstance(pl_module, ForwardOnly)
        seconds = time.monotonic() - self._began
        metrics, headline = getattr(pl_module, "val_metrics", None), pl_module.net.task.headline
        accuracy = "not validated yet"
        if metrics and headline == "accuracy":
            accuracy = f"validation accuracy {100 * metrics['accuracy']:.2f} %"
        elif metrics:
            accuracy = f"validation {headline} {metrics[headline]:.4g}"
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        return f"{self.title}: {epoch}, {accuracy}, {seconds:.0f} s"

    def _picture(self, trainer: L.Trainer, pl_module: L.LightningModule, batches: int) -> RenderableType:
        assert isinstance(pl_module, ForwardOnly)
        of = int(trainer.num_training_batches)
        done = trainer.current_epoch * of + batches
        total = (trainer.max_epochs or 1) * of
        elapsed = time.monotonic() - self._began
        left = elapsed / max(1, done - self._before) * (total - done)
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(self._line(trainer, pl_module)),
            ProgressBar(total=total, completed=done, width=24),
            Text(f"{left:.0f} s left", style="dim"),
        )
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("block", "loss", "separation"):
            table.add_column(column, justify="left" if column == "block" else "right")
        for name, metrics in pl_module.meter.read().items():
            row = [f"{metrics[key]:.3f}" if key in metrics else "" for key in ("loss", "separation")]
            table.add_row(name, *row)
        return Group(head, table)
