"""Ends a run early: after a number of steps or seconds, without improvement, by Ctrl-C, or if it diverges."""

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

from ffcore.blame import by_user, foreign_places
from ffcore.engine.measures import score
from ffcore.engine.module import ForwardOnly
from ffcore.errors import RunError
from ffcore.interfaces import ALONE
from ffcore.local.box_use import UNDER_WAY
from ffcore.ranks.vote import Vote
from ffcore.run.checkpoints import Checkpoints, refuse_divergence

_CHECK_EVERY_S = 2.0  # seconds between checks for non-finite losses: each check waits for the device
_PATIENCE_S = 1.0  # seconds that a black box has for its answer after Ctrl-C


def _interrupt_call(since: float) -> None:
    """Press Ctrl-C again, unless the call of a black box has ended that began at this time."""
    if UNDER_WAY.since == since:
        # to the main thread itself: it may be in a system call, which only a real signal ends
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def ended_by(trainer: L.Trainer) -> str:
    """Return why Lightning's loops have ended early, with the callbacks of the user."""
    places = foreign_places(getattr(trainer, "callbacks", ()))
    names = f": one of {', '.join(map(str, places))}" if places else ""
    return f"a callback has raised StopIteration, or has changed the trainer{names}"


class Stop(L.Callback):
    """Stops the training after a complete step, and makes Lightning validate the last epoch in any case.

    There are two ways to end. A run that is to be resumed (Ctrl-C, ``max_time``) pauses: it writes a
    checkpoint at once. A run that is complete (``max_steps``, ``patience``, or ``trainer.should_stop`` set
    by any callback) stops after a validation. Must come after all callbacks that may set ``should_stop``.

    Attributes:
        pressed: this process has received Ctrl-C, SIGTERM, SIGHUP or SIGUSR1 during training.
        asked: a process of the run has received it, and all ranks have agreed to pause.

    Args:
        checkpoints: the callback that writes the checkpoint for a pause.
        after: step after which to stop; None for no limit.
        seconds: time after which to pause; None for no limit.
        patience: number of validations without a better accuracy after which to stop; None for no limit.
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
        self._checked = 0.0
        self._best = -math.inf
        self.pressed = False
        self._stopping = self._diverged = False  # of this rank alone, until the ranks vote
        self._waited = 0
        self._validating = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Delay a stop that was requested before the first step: without a step there is nothing to save."""
        self._due, trainer.should_stop = trainer.should_stop, False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From now on Ctrl-C and the signals of schedulers and terminals take effect after the step."""
        assert isinstance(pl_module, ForwardOnly)
        self._vote = Vote(pl_module.distribution.ranks, pl_module.device)
        if threading.current_thread() is threading.main_thread():
            # Lightning's handler would end the run without a checkpoint; it restores the old ones at the end
            signal.signal(signal.SIGTERM, self._press)
            for number in (signal.SIGHUP, signal.SIGUSR1):
                # nohup ignores SIGHUP, and the program may have handlers of its own
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, self._press)
        self._learning = True
        self._validate_last(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Make sure that the last epoch is validated."""
        self._validate_last(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop or pause if all ranks agree."""
        assert isinstance(pl_module, ForwardOnly)
        if self._vote.ranks.world == 1:
            self._heed(trainer, pl_module, self._wishes(trainer, pl_module))
        elif (agreed := self._vote.at(trainer.global_step, self._wishes(trainer, pl_module))) is not None:
            self._heed(trainer, pl_module, agreed)
        else:
            trainer.should_stop = (
                False  # until all ranks know of it: one that stops alone would block the others
            )
        if self._due or trainer.global_step == self.after:
            trainer.should_stop = True
        if trainer.should_stop:  # validate this epoch, even if it is not due
            trainer.check_val_every_n_epoch = 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the time again: a validation has run since the last step.

        Raises:
            RunError: the epoch is incomplete: a callback has raised StopIteration, which ends Lightning's
                loops.
        """
        assert isinstance(pl_module, ForwardOnly)
        if self._validating or not (trainer.is_last_batch or trainer.should_stop):
            raise RunError(f"epoch {trainer.current_epoch + 1} is incomplete: {ended_by(trainer)}")
        self._heed(trainer, pl_module, self._vote.now(self._wishes(trainer, pl_module)))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count validations without improvement, and stop if there are ``patience`` of them."""
        assert isinstance(pl_module, ForwardOnly)
        self._validating = False
        assert pl_module.val_metrics is not None
        accuracy = score(pl_module.net.task, pl_module.val_metrics)
        self._waited = 0 if accuracy > self._best else self._waited + 1
        self._best = max(self._best, accuracy)
        if self.patience is not None and self._waited >= self.patience:
            trainer.should_stop = True

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the losses before a validation.

        Raises:
            RunError: a loss is non-finite; earlier checkpoints are kept.
        """
        assert isinstance(pl_module, ForwardOnly)
        self._validating = True
        refuse_divergence(pl_module, trainer.current_epoch)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """From now on Ctrl-C ends the process at once."""
        self._learning = False

    def state_dict(self) -> dict[str, Any]:
        """Returns the best accuracy, and the number of validations since then."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best accuracy, and the number of validations since then."""
        self._best, self._waited = state_dict["best"], state_dict["waited"]

    def _wishes(self, trainer: L.Trainer, module: ForwardOnly) -> list[bool]:
        """Whether this rank has received Ctrl-C, is out of time, is to stop, and has a non-finite loss."""
        now = time.monotonic()
        late = self.seconds is not None and now - self._began >= self.seconds
        if now - self._checked > _CHECK_EVERY_S:
            self._checked = now
            self._diverged = module.meter.divergence() is not None
        self._stopping = self._stopping or trainer.should_stop
        return [self.pressed, late, self._stopping, self._diverged]

    def _heed(self, trainer: L.Trainer, module: ForwardOnly, agreed: Sequence[bool]) -> None:
        """Stop, pause or raise, as the ranks have agreed."""
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
        if (call := UNDER_WAY.since) is not None:
            timer = threading.Timer(_PATIENCE_S, _interrupt_call, [call])
            timer.daemon = True
            timer.start()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Handle Ctrl-C: the first pauses the training; a second, or one outside of training, ends the run.

        So does the first, if a black box does not answer within a second: the step cannot be finished.

        Raises:
            KeyboardInterrupt: in the second case, where Lightning would exit with code 1.
        """
        # Keep another handler: that of the caller's program, or SIG_IGN of a shell's background job.
        ours = threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if ours:
            signal.signal(signal.SIGINT, self._press)
        try:
            yield
        except SystemExit as error:
            # Lightning exits after a KeyboardInterrupt, also after one that a component has raised itself
            interrupt = error.__context__
            if not isinstance(interrupt, KeyboardInterrupt):
                raise
            if self.pressed or by_user(interrupt):
                raise KeyboardInterrupt from error
            raise interrupt from None
        finally:
            if ours:
                signal.signal(signal.SIGINT, signal.default_int_handler)
