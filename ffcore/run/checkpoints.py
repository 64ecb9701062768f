"""What a run keeps, so that it can go on: the last checkpoint, the one before it, and the best."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ffcore import files
from ffcore.engine.module import ForwardOnly
from ffcore.errors import RunError, UserError, everywhere, one_line

FORMAT = 3
"""Of what ffcore adds to a checkpoint; a newer one is refused."""

_SLOWER = "try a smaller optimizer.lr, or trainer.clip"

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


class PausedError(Exception):
    """The run has a checkpoint and may go on later: nothing of what follows in its training is called."""


class Checkpoints(Checkpoint):
    """Writes a checkpoint at the end of every epoch, and every so many steps within it if asked to.

    Lightning calls a `Checkpoint` after all other callbacks: here their states are up to date, and whether
    one of them has ended the run is known. The best one is that of the first validation with the highest
    accuracy. Nothing is kept of a run that has diverged.

    Attributes:
        pausing: somebody wants the run to stop here, so that it may go on later.

    Args:
        folder: where they go.
        meta: what a predictor and a resumed run must know: versions, data, recipe.
        every: steps between checkpoints within an epoch; None for none.
        spent: what the run has taken, over all its parts.
        intact: the last checkpoint is known to load; another one is never made the previous one.
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
        self._validated: int | None = None  # after which step
        self._learned = False

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what is ffcore's own."""
        assert isinstance(pl_module, ForwardOnly)
        checkpoint["ffcore"] = {
            **self.meta,
            **self.spent(),
            "format": FORMAT,
            "learned": self._learned,
            # at the end Lightning has counted the last one
            "epochs": trainer.current_epoch + (not self._learned),
            "val": pl_module.val_metrics,
        }

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write one within an epoch; what follows an epoch's or the run's last batch belongs to its end.

        Raises:
            PausedError: when somebody wants to pause.
        """
        if trainer.is_last_batch or trainer.should_stop:
            return
        if self.pausing or (self.every and trainer.global_step % self.every == 0):
            self.save(trainer, pl_module)
        if self.pausing:
            raise PausedError

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the best."""
        assert isinstance(pl_module, ForwardOnly)
        assert pl_module.val_metrics is not None
        self._validated = trainer.global_step
        accuracy = float(pl_module.val_metrics["accuracy"])
        if self.best is None or accuracy > self.best:
            self.best = accuracy
            self._write(trainer, self.folder / BEST)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's; of the last one, make sure that it has been validated.

        Raises:
            PausedError: when somebody wants to pause.
        """
        assert isinstance(pl_module, ForwardOnly)
        if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
            refuse_divergence(pl_module, trainer.current_epoch)
            if trainer.enable_validation and self._validated != trainer.global_step:
                trainer.validating = True
                trainer.fit_loop.epoch_loop.val_loop.run()
                trainer.training = True
            return
        self.save(trainer, pl_module)
        if self.pausing:
            raise PausedError

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the run's: callbacks that change the weights at the end have done so."""
        self._learned = True
        self.save(trainer, pl_module)

    def save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the last checkpoint; the one before it stays.

        Raises:
            RunError: when a loss or a weight is no number any more.
            OSError: when the file cannot be written.
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
        """Go on from there."""
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
            trainer.save_checkpoint(path)  # the first rank writes it, with what all of them have to say


class Whole(TorchCheckpointIO):
    """Writes beside the target and renames; Lightning's own goes through memory and ``$TMPDIR``."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write it."""

        def write(draft: Path) -> None:
            with draft.open("wb") as file:  # given a path, torch does not say why it could not write
                torch.save(checkpoint, file)

        Path(path).parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(Path(path), write)


def refuse_divergence(module: ForwardOnly, epoch: int) -> None:
    """Wait for the device, and look whether all losses are numbers, and all weights.

    Raises:
        RunError: which block's is none, and since which step.
    """
    found = module.meter.divergence(module.distribution.ranks)
    if found is not None:
        raise everywhere(
            RunError(
                f"diverged: the loss of block {found.block} is no number at step {found.step}, in epoch "
                f"{epoch + 1}; {_SLOWER}"
            )
        )
    # The last step's weights have no loss yet.
    learners = list(module.network.learners.values())
    broken = [any(not p.isfinite().all() for p in block.parameters()) for block in learners]
    counts = module.distribution.ranks.sum(torch.tensor(broken, dtype=torch.int64, device=module.device))
    for block, count in zip(learners, counts.tolist(), strict=True):
        if count:
            raise everywhere(
                RunError(
                    f"diverged: weights of block {block.name} are no numbers in epoch {epoch + 1}; {_SLOWER}"
                )
            )


def read(path: Path) -> dict[str, Any]:
    """A checkpoint of ffcore's, read without unpickling anything but tensors and plain values.

    Raises:
        UserError: when it is not there, is damaged, is not ffcore's, or was made by a newer version.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such checkpoint; did the run end?")
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums that it has written
            if (bad := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"wrong checksum of {bad}")
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever a damaged file makes torch raise
        raise UserError(f"{path}: not a checkpoint that loads: {one_line(error, 99)}") from error
    if not isinstance(state, dict) or "ffcore" not in state:
        raise UserError(f"{path}: a checkpoint, but not one of ffcore's")
    made = state["ffcore"].get("format", 0)
    if made > FORMAT:
        raise UserError(
            f"{path}: made by ffcore {state['ffcore'].get('version')} in format {made}; this version reads "
            f"up to {FORMAT}: install a newer ffcore"
        )
    return state


def newest(folder: Path) -> tuple[Path | None, dict[str, Any] | None, list[str]]:
    """The newest checkpoint that loads, its content, and what is wrong with newer ones.

    Raises:
        UserError: when there are checkpoints and none loads.
    """
    complaints: list[str] = []
    there = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for path in there:
        try:
            return path, read(path), complaints
        except UserError as error:
            if "install a newer" in str(error):
                raise
            complaints.append(str(error))
    if there:
        raise UserError("; ".join(complaints))
    return None, None, complaints
