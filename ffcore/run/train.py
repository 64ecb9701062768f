"""One run: from a validated recipe to a folder with results."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from rich.console import Console

from ffcore import files
from ffcore.build.assemble import assemble
from ffcore.data.images import Dataset
from ffcore.engine.bar import Bar
from ffcore.engine.history import History
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError
from ffcore.recipe.load import dump
from ffcore.recipe.schema import Recipe
from ffcore.report.write import write_report
from ffcore.run import directory, environment, figures
from ffcore.run.data import Data, with_given_data
from ffcore.run.evaluate import accuracies
from ffcore.run.stopping import Stop


@dataclass(frozen=True)
class Run:
    """What a run leaves behind.

    Attributes:
        path: the run's folder.
        results: the content of its ``results.json``.
        module: the trained module.
    """

    path: Path
    results: dict[str, Any] = field(repr=False)
    module: ForwardOnly = field(repr=False)


def train(
    recipe: Recipe,
    run_dir: Path | None = None,
    *,
    dataset: Dataset | None = None,
    console: Console | None = None,
    command: str | None = None,
    callbacks: Sequence[L.Callback] = (),
) -> Run:
    """Train, select, test, and write everything down.

    Nothing is written before the recipe, the data and the network have been found to fit together.

    Args:
        recipe: the validated recipe.
        run_dir: a folder that is empty or not there; None for ``runs/<recipe>-<time>``.
        dataset: data in place of what the recipe names.
        console: where the bar is drawn; None for nowhere.
        command: the command line that made the run, if one did.
        callbacks: Lightning callbacks that watch the training beside ffcore's own.

    Raises:
        UserError: when the recipe, the data or the folder cannot work.
        RunError: when a loss is no number any more.
        KeyboardInterrupt: Ctrl-C; what was learned so far is in the last checkpoint.
    """
    began = time.perf_counter()
    _one_device(recipe)
    directory.check(run_dir)
    data = Data.open(recipe, dataset)
    if recipe.trainer.select == "best" and data.val is None:
        raise UserError("trainer.select: 'best' needs a validation split, but data.validation is 0")
    module = assemble(recipe, data.images.shape, data.images.num_classes)
    path = directory.create(run_dir, recipe.name)
    if dataset is not None:
        recipe = with_given_data(recipe, data.images.name)
    directory.write_text(path / files.CONFIG, dump(recipe))
    history = History(path / files.METRICS)
    stop = Stop(recipe.trainer.max_steps)
    ours = [history, stop, _Meta(data.meta()), *_checkpoints(path, data.val is not None)]
    if console is not None and recipe.trainer.bar:
        ours.append(Bar(console, recipe.name))
    with _apart(recipe.trainer.threads), stop.signals():
        trainer = _trainer(recipe, [*ours, *callbacks])
        device = trainer.strategy.root_device
        learn = data.loader(data.train, device, lambda: trainer.current_epoch)
        val = data.loader(data.val, device, None) if data.val is not None else None
        trainer.fit(module, learn, val)
        if stop.asked:
            raise KeyboardInterrupt(f"{path} keeps the weights after step {trainer.global_step}")
        epoch, val_figures = _select(recipe, module, path)
        trainer.test(module, data.loader(data.images.test, device, None), verbose=False)
    module.to(device)
    results = {
        "recipe": recipe.name,
        "title": recipe.title,
        "seed": recipe.seed,
        "git_commit": environment.git_commit(),
        "command": command,
        "device": environment.device_name(device),
        "threads": recipe.trainer.threads or torch.get_num_threads(),
        "precision": recipe.trainer.precision,
        "versions": environment.versions(),
        "parameters": sum(p.numel() for p in module.network.parameters()),
        "blocks": _blocks(module),
        "sources": [{"name": s.name, "kind": s.kind} for s in module.sources],
        "contribution": recipe.contribution.kind,
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "selected": recipe.trainer.select,
        "epoch_selected": epoch,
        "wall_s": round(time.perf_counter() - began, 3),
        "train_s": round(history.seconds, 3),
        "samples_per_s": round(history.samples / max(history.seconds, 1e-9), 1),
        "peak_memory": environment.peak_memory(device),
        "data": data.describe(),
        "split": {
            "validation": {
                "from": "train",
                "count": len(data.val) if data.val is not None else 0,
                "seed": recipe.data.split_seed,
            }
        },
        "val": _accuracies(module, val_figures),
        "test": _accuracies(module, module.test_figures),
        "paper": recipe.paper.model_dump() if recipe.paper is not None else None,
    }
    figures.save(path / files.FIGURES, figures.measure(module, data, device))
    directory.write_json(path / files.RESULTS, results)
    write_report(path, _complain if console is None else console.out)
    return Run(path, results, module)


class _Meta(L.Callback):
    """Puts into each checkpoint what a predictor must know of the data, and the last validation."""

    def __init__(self, meta: dict[str, Any]) -> None:
        self.meta = meta

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["ffcore"] = {
            "data": self.meta,
            "val": getattr(pl_module, "val_figures", None),
            "version": environment.versions()["ffcore"],
        }


def _one_device(recipe: Recipe) -> None:
    for name in ("devices", "num_nodes"):
        count = getattr(recipe.trainer, name)
        if count != 1:
            raise UserError(f"trainer.{name}: {count}: this version trains on one device; set it to 1")
    if recipe.trainer.strategy != "auto":
        raise UserError(f"trainer.strategy: {recipe.trainer.strategy!r}: this version knows only 'auto'")
    if recipe.trainer.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator: 'gpu': there is none here; use 'auto' or 'cpu'")


def _trainer(recipe: Recipe, callbacks: list[L.Callback]) -> L.Trainer:
    config = recipe.trainer
    return L.Trainer(
        accelerator=config.accelerator if config.accelerator != "auto" else _accelerator(),
        devices=1,
        precision=config.precision,
        max_epochs=config.max_epochs,
        check_val_every_n_epoch=config.validate_every,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        inference_mode=False,  # what components keep of a validation must be ordinary tensors
    )


def _accelerator() -> str:
    return "gpu" if torch.cuda.is_available() else "cpu"


def _checkpoints(path: Path, validated: bool) -> list[L.Callback]:
    where: dict[str, Any] = {"dirpath": path / files.CHECKPOINTS, "enable_version_counter": False}
    last = ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **where)
    best = ModelCheckpoint(
        filename="best", monitor="val_accuracy", mode="max", save_on_train_epoch_end=False, **where
    )
    return [last, best] if validated else [last]


def _select(recipe: Recipe, module: ForwardOnly, path: Path) -> tuple[int, dict[str, Any] | None]:
    """Load the weights that the recipe selects: their epoch, from 1, and their figures on validation data."""
    if recipe.trainer.select == "last":
        return module.current_epoch, getattr(module, "val_figures", None)
    best = torch.load(path / files.CHECKPOINTS / "best.ckpt", weights_only=True, map_location="cpu")
    module.load_state_dict(best["state_dict"])
    return int(best["epoch"]) + 1, best["ffcore"]["val"]


def _blocks(module: ForwardOnly) -> list[dict[str, Any]]:
    return [
        {
            "name": b.name,
            "shape": list(b.info.shape) if b.info is not None else [],
            "parameters": sum(p.numel() for p in b.parameters()),
        }
        for b in module.network.blocks
    ]


def _accuracies(module: ForwardOnly, measured: dict[str, Any] | None) -> dict[str, Any] | None:
    if measured is None:
        return None
    names = [source.name for source in module.sources]
    return {**accuracies(measured, names), "confusion": measured["confusion"]}


def _complain(message: str) -> None:
    warnings.warn(message, stacklevel=3)


@contextmanager
def _apart(threads: int | None) -> Iterator[None]:
    """Threads and random state of the run's own, and none of Lightning's advertisements."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    before = torch.get_num_threads()
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    if threads is not None:
        torch.set_num_threads(threads)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")  # data.validation=0
        try:
            yield
        finally:
            torch.set_num_threads(before)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
