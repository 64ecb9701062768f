"""The loggers and callbacks that a recipe names, and what loggers are told."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger

from ffcore.engine.history import History
from ffcore.errors import UserError, closest
from ffcore.plugin.targets import load_target
from ffcore.recipe.load import dump
from ffcore.recipe.schema import Recipe
from ffcore.recipe.watchers import LOGGERS, Watcher


class Watchers:
    """What a recipe wants to be told of the training; found before anything is written.

    Args:
        recipe: names them under ``trainer.loggers`` and ``trainer.callbacks``.

    Raises:
        UserError: when one is not installed, is none, or does not take its options.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._loggers = [
            (item, _found(LOGGERS.get(item.kind, (item.kind, ""))[0], item, f"trainer.loggers.{i}", Logger))
            for i, item in enumerate(recipe.trainer.loggers)
        ]
        self._callbacks = [
            (item, _found(_callback(item.kind), item, f"trainer.callbacks.{i}", L.Callback))
            for i, item in enumerate(recipe.trainer.callbacks)
        ]

    def loggers(self, path: Path) -> list[Logger]:
        """Make them; those that take a ``save_dir`` write into the run's folder unless told otherwise."""
        made = []
        for item, kind in self._loggers:
            options = dict(item.options)
            if "save_dir" in inspect.signature(kind).parameters:
                options.setdefault("save_dir", str(path))
            made.append(kind(**options))
        return made

    def callbacks(self, history: History) -> list[L.Callback]:
        """Make them, and the one that tells the loggers."""
        made: list[L.Callback] = [kind(**item.options) for item, kind in self._callbacks]
        return [Tell(history, self.recipe), *made] if self._loggers else made


class Tell(L.Callback):
    """Tells the loggers the recipe, and after every epoch its row of ``metrics.csv``.

    Args:
        history: has the row.
        recipe: the recipe.
    """

    def __init__(self, history: History, recipe: Recipe) -> None:
        self.history = history
        self.recipe = recipe

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tell the recipe."""
        for logger in trainer.loggers:
            logger.log_hyperparams({"recipe": dump(self.recipe)})

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tell the epoch's figures."""
        row = {name: float(value) for name, value in self.history.row.items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)


def _callback(kind: str) -> str:
    return kind if ":" in kind else f"lightning.pytorch.callbacks:{kind}"


def _found(target: str, item: Watcher, path: str, base: type) -> Any:
    module, _, name = target.partition(":")
    try:
        found = load_target(target)
    except ImportError as error:
        raise UserError(f"{path}: {item.kind!r} cannot be imported: {error}") from error
    except AttributeError:
        known = [n for n, v in vars(importlib.import_module(module)).items() if _is(v, base)]
        raise UserError(f"{path}: there is no {name!r} in {module}{closest(name, known)}") from None
    if not _is(found, base):
        raise UserError(f"{path}: {item.kind!r} is no {base.__name__.lower()} of Lightning's")
    try:
        inspect.signature(found).bind_partial(**item.options)
    except TypeError as error:
        known = [p for p in inspect.signature(found).parameters if p != "self"]
        wrong = next((o for o in item.options if o not in known), "")
        raise UserError(f"{path}.options: {error}{closest(wrong, known)}") from error
    return found


def _is(thing: Any, base: type) -> bool:
    return inspect.isclass(thing) and issubclass(thing, base)


def needs_checkpointing(callbacks: Sequence[L.Callback]) -> bool:
    """Whether one of them is a checkpoint of Lightning's own."""
    return any(isinstance(callback, L.pytorch.callbacks.Checkpoint) for callback in callbacks)
