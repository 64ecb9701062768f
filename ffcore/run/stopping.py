"""Ending a run before its time: after so many batches, at Ctrl-C, or when it has diverged."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning as L

from ffcore.engine.module import ForwardOnly
from ffcore.errors import RunError


class Stop(L.Callback):
    """Stops where every block has stepped, and has the last epoch validated whatever its number.

    Attributes:
        asked: whether somebody pressed Ctrl-C while the blocks were learning.

    Args:
        after: batches after which to stop; None for no limit.
    """

    def __init__(self, after: int | None) -> None:
        self.after = after
        self.asked = False
        self._learning = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From here on Ctrl-C waits for the end of a batch."""
        self._learning = True

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate after the last epoch."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if it is time to: after a last validation, or at once for somebody who waits."""
        if self.asked:
            trainer.limit_val_batches = 0
            trainer.should_stop = True
        elif trainer.global_step == self.after:
            trainer.check_val_every_n_epoch = 1
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give up where a loss is no number any more.

        Raises:
            RunError: which block's, and when; the checkpoint of the epoch before stays.
        """
        assert isinstance(pl_module, ForwardOnly)
        for block, figures in pl_module.meter.read().items():
            if not math.isfinite(figures.get("loss", 0.0)):
                raise RunError(
                    f"diverged: the loss of block {block} is {figures['loss']} in epoch "
                    f"{trainer.current_epoch + 1}; try a smaller optimizer.lr, or trainer.clip"
                )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing is half done any more."""
        self._learning = False

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Ctrl-C asks for an end; pressed again, or while nothing learns, it ends the run at once.

        Raises:
            KeyboardInterrupt: in the second case, where Lightning would exit with code 1.
        """

        def press(number: int, frame: FrameType | None) -> None:
            if self.asked or not self._learning:
                raise KeyboardInterrupt
            self.asked = True

        # whoever ignores Ctrl-C, such as a shell's background job, or handles it, has a reason to
        ours = threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if ours:
            signal.signal(signal.SIGINT, press)
        try:
            yield
        except SystemExit as error:
            raise KeyboardInterrupt from error
        finally:
            if ours:
                signal.signal(signal.SIGINT, signal.default_int_handler)
