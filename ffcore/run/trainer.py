"""Creates the Lightning trainer of a run, and silences its messages."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import PassThroughProfiler
from lightning_utilities.core.rank_zero import rank_zero_only

from ffcore.ranks.device import accelerator
from ffcore.ranks.join import environments, strategy
from ffcore.recipe.schema import Recipe
from ffcore.run.checkpoints import Whole

FOLDER = "lightning"
"""Subdirectory of a run for files of Lightning callbacks without a directory of their own."""


def make_trainer(recipe: Recipe, path: Path, callbacks: list[L.Callback], loggers: list[Logger]) -> L.Trainer:
    """Creates the trainer of a run in the directory ``path``; one of ``callbacks`` writes checkpoints."""
    config = recipe.trainer
    if config.devices * config.num_nodes == 1:
        # A task of SLURM has another rank, and on other ranks than 0 loggers write nothing.
        cast(Any, rank_zero_only).rank = 0
    return L.Trainer(
        accelerator=accelerator(recipe),
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy=strategy(recipe),
        precision=config.precision,
        max_epochs=config.max_epochs,
        check_val_every_n_epoch=config.validate_every,
        callbacks=callbacks,
        plugins=[Whole(callbacks), *environments(recipe)],
        logger=loggers or False,
        default_root_dir=path / FOLDER,  # not among the run's own checkpoints: the names would clash
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        profiler=_Unprofiled(),
        inference_mode=False,  # what components keep of a validation must be ordinary tensors
    )


def precision(recipe: Recipe, device: torch.device) -> torch.autocast:
    """Returns the autocast context of a run's precision, for evaluation."""
    mixed = recipe.trainer.precision == "bf16-mixed"
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed)


class _Unprofiled(PassThroughProfiler):
    """Replaces Lightning's profiler, which creates a generator for each hook of each callback, 50 a step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return self._nothing


@contextmanager
def apart(threads: int | None) -> Iterator[None]:
    """Sets the number of threads, keeps the global random state, and silences Lightning's messages."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    before = torch.get_num_threads()
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    if threads is not None:
        torch.set_num_threads(threads)
    # Left out, it would be all GPUs, with a context on each; and before CUDA is up there is no state to keep.
    here = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with warnings.catch_warnings(), torch.random.fork_rng(devices=here):
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")  # data.validation=0
        warnings.filterwarnings("ignore", message="The number of training batches")  # loggers hear of epochs
        warnings.filterwarnings("ignore", message=".*recommended to use .*sync_dist.*")  # all log the same
        warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization")
        warnings.filterwarnings("ignore", message="Checkpoint directory .* is not empty")  # a resumed run's
        try:
            yield
        finally:
            torch.set_num_threads(before)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
