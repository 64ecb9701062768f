"""Ending a run before its time: after so many batches or seconds, at Ctrl-C, or when it has diverged."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning as L

from ffcore.engine.module import ForwardOnly
from ffcore.interfaces import ALONE
from ffcore.ranks.vote import Vote
from ffcore.run.checkpoints import Checkpoints, refuse_divergence

_LOOK = 2.0  # seconds between two looks at whether the losses are numbers: each one waits for the device


class Stop(L.Callback):
    """Stops where every block has stepped, and has the last epoch validated whatever its number.

    A run that is to go on later (Ctrl-C, the end of its time) pauses: it writes a checkpoint and learns no
    more. One that is at its end (steps, patience, or ``trainer.should_stop``, whoever sets it) stops after a
    validation. It comes after the callbacks that may ask for an end.

    Attributes:
        pressed: whether somebody pressed Ctrl-C here, or sent SIGTERM, while blocks were learning.
        asked: whether somebody pressed it anywhere, and all ranks know of it.

    Args:
        checkpoints: are told when to pause.
        after: batches after which to stop; None for no limit.
        seconds: time after which to pause; None for no limit.
        patience: validations without a better accuracy after which to stop; None for no limit.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        after: int | None = None,
        seconds: float | None = None,
        patience: int | None = None,
    ) -> None:
        self.checkpoints = checkpoints
        self.after = after
        self.seconds = seconds
        self.patience = patience
        self.asked = False
        self._learning = False
        self._due = False
        self._vote = Vote(ALONE)
        self._began = time.monotonic()
        self._looked = 0.0
        self._best = -math.inf
        self.pressed = False
        self._stopping = self._diverged = False  # what this rank knows of
        self._waited = 0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put off an end that is asked for already: without a batch there is nothing to keep."""
        self._due, trainer.should_stop = trainer.should_stop, False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From here on Ctrl-C and SIGTERM wait for the end of a batch."""
        assert isinstance(pl_module, ForwardOnly)
        self._vote = Vote(pl_module.distribution.ranks, pl_module.device)
        if threading.current_thread() is threading.main_thread():
            # Lightning's handler ends it without a checkpoint; it puts the one before back in the end
            signal.signal(signal.SIGTERM, self._press)
        self._learning = True
        self._validate_last(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate after the last epoch."""
        self._validate_last(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if it is time to: after a last validation, or at once for somebody who waits."""
        assert isinstance(pl_module, ForwardOnly)
        if self._vote.ranks.world == 1:
            self._heed(trainer, pl_module, self._wishes(trainer, pl_module))
        elif (agreed := self._vote.at(trainer.global_step, self._wishes(trainer, pl_module))) is not None:
            self._heed(trainer, pl_module, agreed)
        else:
            trainer.should_stop = False  # until all ranks know of it
        if self._due or trainer.global_step == self.after:
            trainer.should_stop = True
        if trainer.should_stop:
            trainer.check_val_every_n_epoch = 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the time again: a validation lies between."""
        assert isinstance(pl_module, ForwardOnly)
        self._heed(trainer, pl_module, self._vote.now(self._wishes(trainer, pl_module)))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lose patience."""
        assert isinstance(pl_module, ForwardOnly)
        assert pl_module.val_metrics is not None
        accuracy = float(pl_module.val_metrics["accuracy"])
        self._waited = 0 if accuracy > self._best else self._waited + 1
        self._best = max(self._best, accuracy)
        if self.patience is not None and self._waited >= self.patience:
            trainer.should_stop = True

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give up where a loss is no number any more.

        Raises:
            RunError: which block's, and when; the checkpoints of the steps before stay.
        """
        assert isinstance(pl_module, ForwardOnly)
        refuse_divergence(pl_module, trainer.current_epoch)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing is half done any more."""
        self._learning = False

    def state_dict(self) -> dict[str, Any]:
        """How long it has been patient."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on being so."""
        self._best, self._waited = state_dict["best"], state_dict["waited"]

    def _wishes(self, trainer: L.Trainer, module: ForwardOnly) -> list[bool]:
        """Whether this rank has been asked to pause, is late, is to stop, or has a loss that is no number."""
        now = time.monotonic()
        late = self.seconds is not None and now - self._began >= self.seconds
        if now - self._looked > _LOOK:
            self._looked = now
            self._diverged = module.meter.divergence() is not None
        self._stopping = self._stopping or trainer.should_stop
        return [self.pressed, late, self._stopping, self._diverged]

    def _heed(self, trainer: L.Trainer, module: ForwardOnly, agreed: Sequence[bool]) -> None:
        """Do what the ranks have agreed on."""
        self.asked, late, trainer.should_stop, diverged = agreed
        if diverged:
            refuse_divergence(module, trainer.current_epoch)
        self.checkpoints.pausing = self.asked or late

    def _validate_last(self, trainer: L.Trainer) -> None:
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self.pressed or not self._learning:
            raise KeyboardInterrupt
        self.pressed = True

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Ctrl-C asks for an end; pressed again, or while nothing learns, it ends the run at once.

        Raises:
            KeyboardInterrupt: in the second case, where Lightning would exit with code 1.
        """
        # whoever ignores Ctrl-C, such as a shell's background job, or handles it, has a reason to
        ours = threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if ours:
            signal.signal(signal.SIGINT, self._press)
        try:
            yield
        except SystemExit as error:
            raise KeyboardInterrupt from error
        finally:
            if ours:
                signal.signal(signal.SIGINT, signal.default_int_handler)
