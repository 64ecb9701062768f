"""Checkpoints of a run: the last, the one before it, and the best on validation data."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ffcore import files
from ffcore.blame import foreign_places
from ffcore.engine.history import History
from ffcore.engine.measures import score
from ffcore.engine.module import ForwardOnly
from ffcore.errors import RunError, UserError, a, everywhere, one_line, shortened
from ffcore.recipe.schema import Recipe
from ffcore.run import stored
from ffcore.run.states import loading, savers, storable

FORMAT = 3
"""Version of the data that ffcore adds to a checkpoint; a newer version cannot be read."""

_ADVICE = "try a smaller optimizer.lr, or trainer.clip"

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
TRIAL = ".ffcore-trial.ckpt"
"""A name under which `Whole` writes no file."""


class PausedError(Exception):
    """Ends the training after a checkpoint, to be resumed later. Further callbacks are not called."""

    pauses = True
    """Tells strategies that all ranks pause together; see `ffcore.ranks.local`."""


class Checkpoints(Checkpoint):
    """Writes a checkpoint at the end of every epoch and, with ``every``, also within an epoch.

    Lightning calls a `Checkpoint` callback after all others: their states are up to date then, and they have
    set ``trainer.should_stop`` if they end the run. The best checkpoint is that of the first validation with
    the highest accuracy. If the training has diverged, no checkpoint is written.

    Attributes:
        pausing: write a checkpoint after this step and end the training, to be resumed later.

    Args:
        folder: the directory of the checkpoints.
        meta: data for a predictor and for resuming: versions, data set, recipe.
        every: steps between checkpoints within an epoch; None for none.
        spent: returns time and memory of the whole run so far.
        intact: the last checkpoint is known to load. Only then may it replace the previous one.
    """

    def __init__(
        self,
        folder: Path,
        meta: Mapping[str, Any],
        every: int | None = None,
        spent: Callable[[], Mapping[str, Any]] = dict,
        *,
        intact: bool = False,
    ) -> None:
        self.folder = folder
        self.meta = dict(meta)
        self.every = every
        self.spent = spent
        self.best: float | None = None
        self.pausing = False
        self._intact = intact
        self._validated: int | None = None  # the step of the last validation
        self._learned = False

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add ffcore's own data to the checkpoint.

        Raises:
            RunError: a callback has removed entries.
        """
        assert isinstance(pl_module, ForwardOnly)
        if removed := [name for name in stored.STATES if name not in checkpoint]:
            names = savers(getattr(trainer, "callbacks", ()))
            raise RunError(f"callback {names}: on_save_checkpoint has removed {removed[0]!r}")
        checkpoint["ffcore"] = {
            **self.meta,
            **self.spent(),
            "format": FORMAT,
            "learned": self._learned,
            # within an epoch Lightning has not counted it yet; at the end of training it has
            "epochs": trainer.current_epoch + (not self._learned),
            "val": pl_module.val_metrics,
        }

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check, before the first step, that the states of all callbacks and components can be stored.

        Raises:
            RunError: one cannot; the message names it.
        """
        if not self._intact and not trainer.global_step:
            trainer.save_checkpoint(self.folder / TRIAL)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint within an epoch; after the last batch `on_train_epoch_end` does it.

        Raises:
            PausedError: the run is to pause.
        """
        if trainer.is_last_batch or trainer.should_stop:
            return
        if self.pausing or (self.every and trainer.global_step % self.every == 0):
            self.save(trainer, pl_module)
        if self.pausing:
            raise PausedError

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the best checkpoint if the accuracy has improved."""
        assert isinstance(pl_module, ForwardOnly)
        assert pl_module.val_metrics is not None
        self._validated = trainer.global_step
        accuracy = score(pl_module.net.task, pl_module.val_metrics)
        if self.best is None or accuracy > self.best:
            self.best = accuracy
            self._write(trainer, self.folder / BEST)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the checkpoint of the epoch; after the last epoch, validate if that has not been done.

        Raises:
            PausedError: the run is to pause.
        """
        assert isinstance(pl_module, ForwardOnly)
        if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
            refuse_divergence(pl_module, trainer.current_epoch)
            # Lightning does not validate an epoch that a callback stops early, so that the loop is run here;
            # ``on_train_end`` writes the checkpoint afterwards.
            if trainer.enable_validation and self._validated != trainer.global_step:
                trainer.validating = True
                trainer.fit_loop.epoch_loop.val_loop.run()
                trainer.training = True
            return
        self.save(trainer, pl_module)
        if self.pausing:
            raise PausedError

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the final checkpoint, after callbacks that change the weights at the end of training."""
        self._learned = True
        self.save(trainer, pl_module)

    def save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the last checkpoint and keep the one before it.

        Raises:
            RunError: a loss or a weight is non-finite.
            OSError: the file cannot be written.
        """
        assert isinstance(pl_module, ForwardOnly)
        refuse_divergence(pl_module, trainer.current_epoch)
        last = self.folder / LAST
        self._write(trainer, last, before=lambda: self._intact and last.replace(self.folder / PREVIOUS))
        self._intact = True

    def state_dict(self) -> dict[str, Any]:
        """The best accuracy so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best accuracy."""
        self.best = state_dict["best"]

    def _write(self, trainer: L.Trainer, path: Path, before: Callable[[], object] | None = None) -> None:
        def write(draft: Path) -> None:
            trainer.save_checkpoint(draft)
            if before is not None:
                before()

        if trainer.is_global_zero:
            self.folder.mkdir(exist_ok=True)
            files.write_whole(path, write)
        else:
            trainer.save_checkpoint(path)  # collective: rank 0 writes the file with the partial states of all


class Whole(TorchCheckpointIO):
    """Writes a file beside the target and renames it. Lightning's own class uses memory and ``$TMPDIR``.

    Args:
        callbacks: those of the trainer, for messages.
    """

    def __init__(self, callbacks: Sequence[L.Callback] = ()) -> None:
        super().__init__()
        self.callbacks = callbacks

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write the checkpoint, complete or not at all.

        Raises:
            RunError: see `ffcore.run.states.storable`.
        """
        of = savers(self.callbacks)
        for name, kind in stored.STATES.items() if of else ():
            if not isinstance(checkpoint.get(name), kind):
                raise RunError(
                    f"callback {of}, on_save_checkpoint: {name} of the checkpoint is then "
                    f"{shortened(checkpoint.get(name))}; it should be {a(kind.__name__)}"
                )
        checkpoint = storable(checkpoint, self.callbacks)
        if Path(path).name == TRIAL:
            return

        def write(draft: Path) -> None:
            with draft.open("wb") as file:  # with a path, torch's error does not give the reason
                torch.save(checkpoint, file)

        Path(path).parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(Path(path), write)

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint with all types that `ffcore.run.states.storable` accepts."""
        with loading():
            return super().load_checkpoint(*args, **kwargs)


def refuse_divergence(module: ForwardOnly, epoch: int) -> None:
    """Check that all losses and weights are finite. Waits for the device.

    Raises:
        RunError: a loss or a weight is non-finite; the message names the block and the first such step.
    """
    divergence = module.meter.divergence(module.distribution.ranks)
    if divergence is not None:
        what = f"the loss of block {divergence.block} is non-finite at step {divergence.step}"
        if divergence.step > 1:
            raise everywhere(RunError(f"diverged: {what}, in epoch {epoch + 1}; {_ADVICE}"))
        block = module.network.learners[divergence.block]
        # samples come from outside the block: from a label code, an augmentation or a circuit
        places = foreign_places(block.modules()) or foreign_places(module.modules())
        parts = [str(each) for each in places]
        # no weight has changed yet, so the learning rate cannot be the cause
        advice = f"check the values of {' and '.join(parts) if parts else 'its goodness and objective'}"
        raise everywhere(RunError(f"{what}, the first: the weights are the initial ones; {advice}"))
    # No loss has been computed yet with the weights after the last step: check the weights themselves.
    learners = list(module.network.learners.values())
    owns = module.distribution.owns
    broken = [
        owns(block.name) and any(not p.isfinite().all() for p in block.parameters()) for block in learners
    ]
    counts = module.distribution.ranks.sum(torch.tensor(broken, dtype=torch.int64, device=module.device))
    for block, count in zip(learners, counts.tolist(), strict=True):
        if count:
            raise everywhere(
                RunError(
                    f"diverged: weights of block {block.name} are non-finite in epoch {epoch + 1}; {_ADVICE}"
                )
            )


def read(path: Path) -> dict[str, Any]:
    """Returns the content of a checkpoint. Unpickles only tensors and plain values (``weights_only``).

    Raises:
        UserError: the file is missing or damaged, is not from ffcore, or is from a newer version.
    """
    if not path.exists():
        raise UserError(f"{path}: the checkpoint does not exist; is the run finished?")
    stored.refuse_packed(path)
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes checksums but does not check them
            if (bad := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"wrong checksum of {bad}")
        with loading():
            state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises errors of many types for a damaged file
        raise UserError(f"{path}: the checkpoint cannot be loaded: {one_line(error, 99)}") from error
    if not isinstance(state, dict) or "ffcore" not in state:
        raise UserError(f"{path}: not a checkpoint of ffcore")
    meta = state["ffcore"]
    made = meta.get("format", 0) if isinstance(meta, dict) else 0
    if isinstance(made, int) and made > FORMAT:
        raise UserError(
            f"{path}: made by ffcore {meta.get('version')} in format {made}; this version reads "
            f"up to {FORMAT}: install a newer ffcore"
        )
    stored.check(path, state)
    return state


def newest(folder: Path) -> tuple[Path | None, dict[str, Any] | None, list[str]]:
    """Returns the newest checkpoint that loads, its content, and the errors of newer ones.

    Raises:
        UserError: there are checkpoints, but none loads.
    """
    complaints: list[str] = []
    existing = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for path in existing:
        try:
            content = read(path)
            stored.refuse_incomplete(path, content)
            if History.__qualname__ not in content["callbacks"]:  # its rows, times and counts would be lost
                raise UserError(f"{path}: the run cannot be resumed from this checkpoint: it has no History")
            return path, content, complaints
        except UserError as error:
            if "install a newer" in str(error):
                raise
            complaints.append(str(error))
    if existing:
        raise UserError("; ".join(complaints))
    return None, None, complaints


def select(
    recipe: Recipe, module: ForwardOnly, path: Path, state: Mapping[str, Any]
) -> tuple[int, dict[str, Any] | None]:
    """Load the weights that the recipe selects. Returns their epoch, from 1, and their validation metrics."""
    file = path / files.CHECKPOINTS / (LAST if recipe.trainer.select == "last" else BEST)
    if file.name == BEST:
        state = read(file)
    stored.load_weights(module, state, file)
    return state["ffcore"]["epochs"], state["ffcore"]["val"]
