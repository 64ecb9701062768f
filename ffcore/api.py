"""ffcore from Python, for scripts and notebooks. Imports torch only when something is called."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffcore.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from ffcore.data.images import Dataset
    from ffcore.network import Network
    from ffcore.recipe.schema import Recipe
    from ffcore.run.finished import Run
    from ffcore.run.predictor import Predictor


def train(
    recipe: str | os.PathLike[str] | Recipe,
    *,
    data: Dataset | Mapping[str, Any] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    bar: bool = False,
    callbacks: Sequence[Callback] = (),
    report: bool = True,
    **overrides: Any,
) -> Run:
    """Train a recipe and write its run folder.

    >>> import ffcore
    >>> run = ffcore.train("digits/ff", trainer={"max_epochs": 2})  # doctest: +SKIP
    >>> run.results.test.accuracy  # doctest: +SKIP
    0.91

    Args:
        recipe: a recipe's name, the path of a YAML file, or a recipe.
        data: a data set in place of the recipe's, such as ``ffcore.data.arrays.InMemory(…)``; or overrides
            of the recipe's ``data`` part.
        run_dir: an empty or new folder; None for ``runs/<recipe>-<time>``.
        bar: draw a progress bar.
        callbacks: Lightning callbacks that watch the training.
        report: write ``report.html`` and ``report.md``; ``ffcore report RUN`` makes them later.
        overrides: parts of the recipe to change, nested as in YAML: ``seed=2, trainer={"max_epochs": 2}``.
            Lists are replaced whole; a path may be spelled out: ``**{"network.0.units": 100}``. Objects stand
            wherever a kind does: ``network=[nn.Linear(64, 100)], optimizer=torch.optim.SGD``.

    Raises:
        ffcore.errors.UserError: when something cannot work; nothing has been written then.
    """
    from rich.console import Console

    from ffcore.recipe.load import loaded
    from ffcore.run.train import train as run_train

    if isinstance(data, Mapping):
        overrides["data"], data = data, None
    found = loaded(recipe, overrides)
    if data is not None and not hasattr(data, "load"):
        raise UserError(
            "data: should be a data set, such as ffcore.data.arrays.InMemory(x_train, y_train, …)"
        )
    folder = Path(run_dir) if run_dir is not None else None
    console = Console() if bar else None
    return run_train(found, folder, dataset=data, console=console, callbacks=callbacks, report=report)


def resume(
    run_dir: str | os.PathLike[str],
    *,
    trainer: Mapping[str, Any] | None = None,
    data: Dataset | Mapping[str, Any] | None = None,
    bar: bool = False,
    callbacks: Sequence[Callback] = (),
    report: bool = True,
    trust: bool = False,
    net: Network | None = None,
    **overrides: Any,
) -> Run:
    """Go on with a run that was stopped or killed; on a CPU it ends with the numbers that it would have had.

    Args:
        run_dir: its folder.
        trainer: where to go on, such as ``{"devices": 2}``.
        data: its data set, if it was given from Python; or objects of the recipe's ``data`` part.
        bar: draw a progress bar.
        callbacks: Lightning callbacks that watch the training.
        report: write ``report.html`` and ``report.md``; ``ffcore report RUN`` makes them later.
        trust: open pickles in its checkpoint, as scikit-learn's transformers leave them.
        net: the network of a run of `fit`, made anew as it was.
        overrides: objects that `train` was given and that ``config.yaml`` only describes, where they were:
            ``**{"network.0": module}``, or the whole ``network=[…]``.

    Raises:
        ffcore.errors.UserError: when there is nothing to go on with, or the data or the objects are others.
    """
    from rich.console import Console

    from ffcore.run.resume import resume as run_resume
    from ffcore.trust import trusting

    if isinstance(data, Mapping):
        overrides["data"], data = data, None
    with trusting(trust):
        return run_resume(
            Path(run_dir),
            overrides=[f"trainer.{name}={json.dumps(value)}" for name, value in (trainer or {}).items()],
            objects=overrides,
            dataset=data,
            console=Console() if bar else None,
            callbacks=callbacks,
            report=report,
            net=net,
        )


def add_plugin(plugin: Any) -> None:
    """Load a plugin: a Python file, as ``--plugin`` does, or an object with the hook ``ffcore_register``.

    A plugin that was added before is loaded again: edit the file, add it again, and the next run uses the new
    version.

    >>> import ffcore
    >>> from ffcore.plugin import hookimpl
    >>> class Mine:
    ...     @hookimpl
    ...     def ffcore_register(registry):
    ...         registry.goodness("my-goodness", "ffcore_ff.goodness:SumSquares")
    >>> ffcore.add_plugin(Mine)

    Args:
        plugin: path of a file, whose stem is the plugin's name; or a module, a class or an object.

    Raises:
        ffcore.errors.UserError: when it cannot be loaded, or another plugin has that name; the plugins stay
            as they were.
    """
    from ffcore.plugin import manager

    manager.add(plugin)


def register(noun: str, name: str, target: Any, summary: str = "") -> None:
    """Register one component for this session, under a kind of its own; again to replace it.

    >>> import ffcore
    >>> from torch import nn
    >>> class Halved(nn.Module):
    ...     def forward(self, x):
    ...         return x / 2
    >>> ffcore.register("handoff", "halved", Halved)

    Other processes do not know it: a run on several devices, or resumed elsewhere, needs a plugin.

    Args:
        noun: what sort of component: "goodness", "objective", "handoff", … (``ffcore ls`` has a list).
        name: its kind in recipes.
        target: the class, or ``package.module:Class``.
        summary: one line for ``ffcore ls``; the first line of the docstring if empty.

    Raises:
        ffcore.errors.UserError: when the name or the target cannot work, or a plugin has registered the name.
    """
    from ffcore.plugin import manager

    manager.register(noun, name, target, summary)


def load(
    run_dir: str | os.PathLike[str],
    checkpoint: str | None = None,
    *,
    trust: bool = False,
    net: Network | None = None,
    **overrides: Any,
) -> Predictor:
    """A finished run, ready to predict: ``ffcore.load(run.path).predict(x)``.

    Args:
        run_dir: a run's folder.
        checkpoint: "last" or "best"; None for the one that the recipe selects.
        trust: open pickles in the checkpoint, as scikit-learn's transformers leave them.
        net: for a run of `fit`, a network made as that one was; it gets the run's weights.
        overrides: objects that `train` was given and that ``config.yaml`` only describes, as for `resume`.

    Raises:
        ffcore.errors.UserError: when the folder is no run, holds a pickle that nobody trusts, or describes an
            object that is not given again.
    """
    from ffcore.run.predictor import Predictor
    from ffcore.trust import trusting

    with trusting(trust):
        return Predictor(os.fspath(run_dir), checkpoint, overrides, net)
