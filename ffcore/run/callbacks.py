"""The callbacks and loggers of a recipe, and the callback that feeds the loggers."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger

from ffcore.blame import located, placed, reported
from ffcore.engine.history import History
from ffcore.errors import FOREIGN, UserError, closest, one_line
from ffcore.plugin.targets import load_target
from ffcore.recipe.callbacks import LOGGERS, CallbackItem
from ffcore.recipe.load import dump
from ffcore.recipe.schema import Recipe
from ffcore.run.checkpoints import Checkpoints
from ffcore.run.histograms import Histograms
from ffcore.run.stopping import Stop


class Callbacks:
    """The callbacks and loggers of a recipe, imported and checked before any file is written.

    Args:
        recipe: has them under ``trainer.loggers`` and ``trainer.callbacks``.
        more: callbacks given from Python.

    Raises:
        UserError: one is not installed, is not a callback or logger, does not take its options, or has the
            state key of another one.
    """

    def __init__(self, recipe: Recipe, more: Sequence[L.Callback] = ()) -> None:
        self.recipe = recipe
        self._loggers = [
            (item, _import(LOGGERS.get(item.kind, (item.kind, ""))[0], item, f"trainer.loggers.{i}", Logger))
            for i, item in enumerate(recipe.trainer.loggers)
        ]
        made = {
            path: _construct(
                _import(_callback(item.kind), item, path, L.Callback), item.options, item.kind, path
            )
            for path, item in (
                (f"trainer.callbacks.{i}", one) for i, one in enumerate(recipe.trainer.callbacks)
            )
        }
        made |= {
            f"callbacks[{i}]": placed(callback, f"callbacks[{i}]", f"callback {type(callback).__name__}")
            for i, callback in enumerate(more)
        }
        _refuse_twins(made)
        self._callbacks = list(made.values())

    def loggers(self, path: Path) -> list[Logger]:
        """Construct the loggers. The default of ``save_dir`` is the run directory.

        Raises:
            UserError: a logger cannot be constructed; it may have written files.
        """
        made = []
        for i, (item, kind) in enumerate(self._loggers):
            options = dict(item.options)
            if "save_dir" in inspect.signature(kind).parameters:
                options.setdefault("save_dir", str(path))
            made.append(_construct(kind, options, item.kind, f"trainer.loggers.{i}"))
        return made

    def all(self, history: History) -> list[L.Callback]:
        """Returns the callbacks, with the one that feeds the loggers."""
        return [*([FeedLoggers(history, self.recipe)] if self._loggers else []), *self._callbacks]


class FeedLoggers(L.Callback):
    """Sends the recipe to the loggers, and after every epoch its row of ``metrics.csv``.

    Args:
        history: has the row.
        recipe: the recipe.
    """

    def __init__(self, history: History, recipe: Recipe) -> None:
        self.history = history
        self.recipe = recipe

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Send the recipe."""
        for logger in trainer.loggers:
            logger.log_hyperparams({"recipe": dump(self.recipe)})

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Send the metrics of the epoch."""
        row = {name: float(value) for name, value in self.history.row.items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)


def _callback(kind: str) -> str:
    return kind if ":" in kind else f"lightning.pytorch.callbacks:{kind}"


def _import(target: str, item: CallbackItem, path: str, base: type) -> Any:
    module, _, name = target.partition(":")
    try:
        component = load_target(target)
    except ImportError as error:
        raise UserError(f"{path}: {item.kind!r} cannot be imported: {error}") from error
    except FOREIGN as error:
        if not isinstance(error, AttributeError) or module not in sys.modules:
            reason = reported(error)
            raise UserError(f"{path}: {item.kind!r} cannot be imported: {reason}") from error
        known = [n for n, v in vars(importlib.import_module(module)).items() if _is(v, base)]
        raise UserError(f"{path}: {module} has no {name!r}{closest(name, known)}") from None
    if not _is(component, base):
        raise UserError(f"{path}: {item.kind!r} is not a {base.__name__.lower()} of Lightning")
    signature = inspect.signature(component)
    # `loggers` adds ``save_dir`` later, when the run directory is known
    given = {"save_dir": ""} if base is Logger and "save_dir" in signature.parameters else {}
    try:
        signature.bind(**{**given, **item.options})
    except TypeError as error:
        known = [p for p in signature.parameters if p != "self"]
        wrong = next((o for o in item.options if o not in known), "")
        raise UserError(f"{path}.options: {error}{closest(wrong, known)}") from error
    return component


def _construct(kind: type, options: Mapping[str, Any], name: str, path: str) -> Any:
    noun = "logger" if issubclass(kind, Logger) else "callback"
    try:
        return placed(kind(**options), path, f"{noun} {name!r}")
    except FOREIGN as error:  # most constructors raise for a wrong option or a missing package
        reason = f"{one_line(error)}{located(error)}"
        raise UserError(f"{path}: {name!r} cannot be constructed: {reason}") from error


def _refuse_twins(callbacks: Mapping[str, L.Callback]) -> None:
    """Raise if two callbacks have the same state key: in a checkpoint one would overwrite the other."""
    taken = dict.fromkeys((one.__qualname__ for one in (History, Histograms, Stop, Checkpoints)), "ffcore")
    for path, callback in callbacks.items():
        if type(callback).state_dict is L.Callback.state_dict:
            continue
        if (other := taken.setdefault(callback.state_key, path)) != path:
            raise UserError(
                f"{path}: has the same state key {callback.state_key!r} as {other}: remove one of them, "
                "or define state_key in its class"
            )


def _is(thing: Any, base: type) -> bool:
    return inspect.isclass(thing) and issubclass(thing, base)
