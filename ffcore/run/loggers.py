"""Lightning's loggers in a run: what they receive, what happens if one raises, and how they are closed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger

from ffcore.engine.history import History
from ffcore.errors import FOREIGN, typed
from ffcore.private import opened_experiment
from ffcore.recipe.schema import Recipe

_PROPERTIES = ("experiment", "name", "version", "save_dir", "root_dir", "log_dir")
_METHODS = ("log_hyperparams", "log_metrics", "log_graph", "save", "after_save_checkpoint", "finalize")


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
        """Send the entries of the recipe, one hyper-parameter each."""
        for logger in trainer.loggers:
            logger.log_hyperparams(flat(self.recipe.model_dump(mode="json")))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Send the metrics of the epoch."""
        row = {name: float(value) for name, value in self.history.row.items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return a tree of mappings and lists as one mapping from paths to values; trackers filter runs by these.

    >>> flat({"seed": 1, "network": [{"units": 20}]})
    {'seed': 1, 'network.0.units': 20}
    """
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {path: value}
    entries: dict[str, Any] = {}
    for key, inside in value.items():
        entries |= flat(inside, f"{path}.{key}" if path else str(key))
    return entries


class _Nothing:
    """Takes the place of the tracker's object, ``logger.experiment``, if that cannot be made."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copies and pickles ask for these
            raise AttributeError(name)
        return lambda *args, **kwargs: None


def guard(logger: Logger, path: str, warn: Callable[[str], None]) -> None:
    """Make a logger's methods and properties return where they would raise; the first error is reported.

    Args:
        logger: it is changed in place.
        path: where the logger was given, for the message.
        warn: receives the message.
    """
    reported = False

    def guarded(name: str, function: Callable[..., Any], otherwise: Any = None) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal reported
            try:
                return function(*args, **kwargs)
            # A tracking library may even end the process, which must not cost the results.
            except FOREIGN as error:
                if not reported:
                    reported = True
                    warn(f"{path}: {name} raised {typed(error)}; the run continues without its data")
                return otherwise

        return call

    kind = type(logger)
    # Properties belong to a class, so that the logger gets a subclass of its own.
    made = type(
        kind.__name__,
        (kind,),
        {
            name: property(guarded(name, own.fget, _Nothing() if name == "experiment" else None))
            for name in _PROPERTIES
            if isinstance(own := getattr(kind, name, None), property) and own.fget is not None
        },
    )
    logger.__class__ = made
    for name in _METHODS:
        setattr(logger, name, guarded(name, getattr(logger, name)))


@contextmanager
def closed(loggers: Sequence[Logger]) -> Iterator[None]:
    """Close what the loggers open within the context: Lightning leaves runs of wandb and Comet open.

    The next run of the program would otherwise write into the same run of wandb.
    """
    before = getattr(sys.modules.get("wandb"), "run", None)  # the caller's own run stays open
    failed = 1
    try:
        yield
        failed = 0
    finally:
        for logger in loggers:
            opened = opened_experiment(logger)
            if opened is not None and opened is not before:
                _close(opened, failed)


def _close(opened: Any, code: int) -> None:
    try:
        if hasattr(opened, "finish"):  # wandb
            opened.finish(exit_code=code)
        elif hasattr(opened, "end"):  # Comet
            opened.end()
    except Exception:  # noqa: S110 (the results are written already; the tracker reports its own errors)
        pass
