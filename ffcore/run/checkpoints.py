"""What a run keeps, so that it can go on: the last checkpoint, the one before it, and the best."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch

from ffcore import files
from ffcore.engine.module import ForwardOnly
from ffcore.errors import RunError, UserError

FORMAT = 1
"""Of what ffcore adds to a checkpoint; a newer one is refused."""

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


class Checkpoints(L.Callback):
    """Writes a checkpoint at the end of every epoch, and every so many steps within it if asked to.

    The best one is that of the first validation with the highest accuracy. Nothing is kept of a run that has
    diverged.

    Attributes:
        learned: whether the run has come to its end, so that only measuring is left.

    Args:
        folder: where they go.
        meta: what a predictor and a resumed run must know: versions, data.
        every: steps between checkpoints within an epoch; None for none.
        elapsed: seconds that the run has taken, over all its parts.
    """

    def __init__(
        self,
        folder: Path,
        meta: Mapping[str, Any],
        every: int | None = None,
        elapsed: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.folder = folder
        self.meta = dict(meta)
        self.every = every
        self.elapsed = elapsed
        self.best: float | None = None
        self.learned = False
        self.closed = False

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what is ffcore's own."""
        assert isinstance(pl_module, ForwardOnly)
        checkpoint["ffcore"] = {
            **self.meta,
            "format": FORMAT,
            "learned": self.learned,
            "wall_s": self.elapsed(),
            "epochs": trainer.current_epoch + 1,
            "val": pl_module.val_figures,
        }

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write one within an epoch; the epoch's last batch is left to the epoch's end."""
        if self.every and trainer.global_step % self.every == 0 and not trainer.is_last_batch:
            self.save(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the best."""
        assert isinstance(pl_module, ForwardOnly)
        assert pl_module.val_figures is not None
        accuracy = float(pl_module.val_figures["accuracy"])
        if self.best is None or accuracy > self.best:
            self.best = accuracy
            self._write(trainer, self.folder / BEST)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's."""
        self.learned |= trainer.current_epoch + 1 == trainer.max_epochs
        if not self.closed:
            self.save(trainer, pl_module)

    def save(self, trainer: L.Trainer, pl_module: L.LightningModule, *, final: bool = False) -> None:
        """Write the last checkpoint; the one before it stays.

        Args:
            trainer: whose state to write.
            pl_module: whose weights.
            final: write no more after it, whatever the trainer has still to do.

        Raises:
            RunError: when a loss is no number any more, or the file cannot be written.
        """
        assert isinstance(pl_module, ForwardOnly)
        refuse_divergence(pl_module, trainer.current_epoch)
        last = self.folder / LAST
        self._write(trainer, last, before=lambda: last.exists() and last.replace(self.folder / PREVIOUS))
        self.closed = final

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

        try:
            self.folder.mkdir(exist_ok=True)
            files.write_whole(path, write)
        except (OSError, RuntimeError) as error:  # torch's writer makes a RuntimeError of a full disk
            if isinstance(error, RunError):
                raise
            said = " ".join(str(error).split())[:120]
            raise RunError(
                f"{path}: cannot be written ({said}); what was written before it is intact: make room, then "
                f"ffcore run --resume {self.folder.parent}"
            ) from error


def refuse_divergence(module: ForwardOnly, epoch: int) -> None:
    """Wait for the device, and look whether all losses are numbers.

    Raises:
        RunError: which block's is none, and since which step.
    """
    found = module.meter.divergence()
    if found is not None:
        raise RunError(
            f"diverged: the loss of block {found.block} is no number at step {found.step}, in epoch "
            f"{epoch + 1}; try a smaller optimizer.lr, or trainer.clip"
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
        said = " ".join(str(error).split())
        raise UserError(f"{path}: not a checkpoint that loads: {said[:99]}") from error
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
