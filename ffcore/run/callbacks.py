"""The callbacks and loggers of a recipe, imported, constructed and checked."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar, StochasticWeightAveraging
from lightning.pytorch.loggers import Logger

from ffcore.blame import located, placed, reported
from ffcore.engine.history import History
from ffcore.engine.module import ForwardOnly
from ffcore.errors import FOREIGN, UserError, at_path, closest, one_line
from ffcore.plugin.targets import load_target
from ffcore.recipe.callbacks import LOGGERS, CallbackItem
from ffcore.recipe.schema import Recipe
from ffcore.run.box_use import BoxUse
from ffcore.run.callback_checks import (
    Given,
    averages_of,
    refuse_kind,
    refuse_resumed,
    refuse_types,
    refuse_unfit,
)
from ffcore.run.checkpoints import Checkpoints
from ffcore.run.histograms import Histograms
from ffcore.run.loggers import FeedLoggers, guard
from ffcore.run.metering import Metering
from ffcore.run.stopping import Stop

_OWN = tuple(one.__qualname__ for one in (Metering, History, Histograms, BoxUse, Stop, Checkpoints))
"""State keys of the callbacks that every run has."""


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
        made |= _given(more)
        _refuse_twins(made)
        self._callbacks = made

    @property
    def bar(self) -> bool:
        """Whether one of the callbacks is a progress bar of Lightning."""
        return any(isinstance(callback, ProgressBar) for callback in self._callbacks.values())

    @property
    def averages(self) -> dict[str, str]:
        """What is tested in place of the weights of a step, for ``results.json``; empty: those of a step."""
        for callback in self._callbacks.values():
            if (text := averages_of(callback)) is not None:
                return {"averages": f"{text} ({type(callback).__name__})"}
        return {}

    @property
    def averages_last(self) -> bool:
        """Whether a callback replaces the weights after the last validation, whose metrics are of others."""
        return any(isinstance(each, StochasticWeightAveraging) for each in self._callbacks.values())

    def check(self, module: ForwardOnly, validated: bool) -> None:
        """Check that the callbacks can work in the run.

        Args:
            module: the untrained module.
            validated: whether the run has a validation split.

        Raises:
            UserError: one cannot.
        """
        for path, callback in self._callbacks.items():
            others = [other for other in self._callbacks.values() if other is not callback]
            refuse_unfit(path, callback, Given(self.recipe, module, validated, others))

    def refuse_resumed(self, run_dir: Path, state: Mapping[str, Any]) -> None:
        """Check that the callbacks of a checkpoint are here and can be restored.

        Args:
            run_dir: the run directory, for the message.
            state: the content of the checkpoint.

        Raises:
            UserError: one is missing, or see `ffcore.run.callback_checks.refuse_resumed`.
        """
        here = {*_OWN, *(_state_key(path, callback) for path, callback in self._callbacks.items())}
        for key in state["callbacks"]:
            if key not in here and not key.startswith("ModelCheckpoint"):  # which changes no results
                raise UserError(
                    f"{run_dir}: its callback {key} was given from Python and has a state; resume "
                    "the run from Python, with callbacks=[…]"
                )
        if not state["ffcore"].get("learned", False):  # a run that has learned is only tested
            refuse_resumed(self._callbacks)

    def loggers(self, path: Path, warn: Callable[[str], None]) -> list[Logger]:
        """Construct the loggers. The default of ``save_dir`` is the run directory.

        Args:
            path: the run directory.
            warn: receives one line for a logger that raises during the run.

        Raises:
            UserError: a logger cannot be constructed; it may have written files.
        """
        made = []
        for i, (item, kind) in enumerate(self._loggers):
            options = dict(item.options)
            if "save_dir" in inspect.signature(kind).parameters:
                options.setdefault("save_dir", str(path))
            where = f"trainer.loggers.{i}"
            logger: Logger = _construct(kind, options, item.kind, where)
            try:
                guard(logger, f"{where}: {item.kind!r}", warn)
            except (AttributeError, TypeError) as error:
                reason = f"its class cannot be extended: {one_line(error)}{located(error)}"
                raise UserError(f"{where}: {item.kind!r} cannot be used: {reason}") from error
            made.append(logger)
        return made

    def all(self, history: History) -> list[L.Callback]:
        """Returns the callbacks, with the one that feeds the loggers."""
        return [*([FeedLoggers(history, self.recipe)] if self._loggers else []), *self._callbacks.values()]


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
    refuse_kind(path, component)
    with at_path(path):
        signature = _signature(component)
    # `loggers` adds ``save_dir`` later, when the run directory is known
    given = {"save_dir": ""} if base is Logger and "save_dir" in signature.parameters else {}
    try:
        signature.bind(**{**given, **item.options})
    except TypeError as error:
        known = [p for p in signature.parameters if p != "self"]
        if wrong := next((option for option in item.options if option not in known), None):
            raise UserError(f"{path}.options: unknown option {wrong!r}{closest(wrong, known)}") from error
        raise UserError(f"{path}.options: {error}; its options are {', '.join(known)}") from error
    refuse_types(f"{path}.options", component, item.options)
    return component


def _signature(kind: type) -> inspect.Signature:
    try:
        return inspect.signature(kind)
    except TypeError as error:
        raise ValueError(f"{kind.__qualname__} has no signature: {error}") from error


def _construct(kind: type, options: Mapping[str, Any], name: str, path: str) -> Any:
    noun = "logger" if issubclass(kind, Logger) else "callback"
    try:
        made = placed(kind(**options), path, f"{noun} {name!r}", foreign=True)
    except FOREIGN as error:  # most constructors raise for a wrong option or a missing package
        reason = f"{one_line(error)}{located(error)}"
        raise UserError(f"{path}: {name!r} cannot be constructed: {reason}") from error
    if not isinstance(made, kind):  # a metaclass may return anything
        raise UserError(f"{path}: {name!r} cannot be constructed: it made a {type(made).__name__}")
    return made


def _given(callbacks: Sequence[L.Callback]) -> dict[str, L.Callback]:
    """Return the callbacks given from Python, by their path in messages."""
    if isinstance(callbacks, L.Callback | str) or not isinstance(callbacks, Iterable):
        raise UserError(f"callbacks: should be a list of callbacks, not {one_line(callbacks, 60)}")
    made = {f"callbacks[{i}]": callback for i, callback in enumerate(callbacks)}
    for path, callback in made.items():
        if not isinstance(callback, L.Callback):
            raise UserError(
                f"{path}: should be a lightning.Callback, such as EarlyStopping('val_accuracy'), not "
                f"{one_line(callback, 60)}"
            )
        placed(callback, path, f"callback {type(callback).__name__}", foreign=True)
    return made


def _state_key(path: str, callback: L.Callback) -> str:
    key: Any
    try:
        key = callback.state_key
    except FOREIGN as error:
        raise UserError(f"{path}: its state_key raised {reported(error)}; it should be a string") from error
    if not isinstance(key, str):
        raise UserError(
            f"{path}: the state_key of {type(callback).__name__} is {key!r}; it should be a string"
        )
    return key


def _refuse_twins(callbacks: Mapping[str, L.Callback]) -> None:
    """Raise if two callbacks have the same state key, or are progress bars.

    In a checkpoint, one state would overwrite the other.
    """
    bars = [path for path, callback in callbacks.items() if isinstance(callback, ProgressBar)]
    if len(bars) > 1:
        raise UserError(f"{bars[1]}: {bars[0]} is a progress bar already; remove one of them")
    taken: dict[str, str] = dict.fromkeys(_OWN, "ffcore")
    for path, callback in callbacks.items():
        key = _state_key(path, callback)
        if type(callback).state_dict is L.Callback.state_dict:
            continue
        if (other := taken.setdefault(key, path)) != path:
            raise UserError(
                f"{path}: has the same state key {key!r} as {other}: remove one of them, "
                "or define state_key in its class"
            )


def _is(thing: Any, base: type) -> bool:
    return inspect.isclass(thing) and issubclass(thing, base)
