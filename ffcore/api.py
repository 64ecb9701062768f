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
    from torch import nn

    from ffcore.data.images import Dataset
    from ffcore.local import LocalNetwork
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
            Lists are replaced whole; a path may be spelled out: ``**{"network.0.units": 100}``.

    Raises:
        ffcore.errors.UserError: when something cannot work; nothing has been written then.
    """
    from rich.console import Console

    from ffcore.recipe.load import load
    from ffcore.recipe.schema import Recipe
    from ffcore.run.train import train as run_train

    if isinstance(data, Mapping):
        overrides["data"], data = data, None
    if isinstance(recipe, Recipe):
        if overrides:
            raise ValueError("overrides go with a recipe's name or path; a Recipe object is taken as it is")
        loaded = recipe
    else:
        loaded = load(os.fspath(recipe), _flat(overrides))
    if data is not None and not hasattr(data, "load"):
        raise UserError(
            "data: should be a data set, such as ffcore.data.arrays.InMemory(x_train, y_train, …)"
        )
    folder = Path(run_dir) if run_dir is not None else None
    console = Console() if bar else None
    return run_train(loaded, folder, dataset=data, console=console, callbacks=callbacks, report=report)


def resume(
    run_dir: str | os.PathLike[str],
    *,
    trainer: Mapping[str, Any] | None = None,
    data: Dataset | None = None,
    bar: bool = False,
    callbacks: Sequence[Callback] = (),
    report: bool = True,
    trust: bool = False,
) -> Run:
    """Go on with a run that was stopped or killed; on a CPU it ends with the numbers that it would have had.

    Args:
        run_dir: its folder.
        trainer: where to go on, such as ``{"devices": 2}``.
        data: its data set, if it was given from Python.
        bar: draw a progress bar.
        callbacks: Lightning callbacks that watch the training.
        report: write ``report.html`` and ``report.md``; ``ffcore report RUN`` makes them later.
        trust: open pickles in its checkpoint, as scikit-learn's transformers leave them.

    Raises:
        ffcore.errors.UserError: when there is nothing to go on with, or the data are others.
    """
    from rich.console import Console

    from ffcore.run.resume import resume as run_resume
    from ffcore.trust import trusting

    with trusting(trust):
        return run_resume(
            Path(run_dir),
            overrides=[f"trainer.{name}={json.dumps(value)}" for name, value in (trainer or {}).items()],
            dataset=data,
            console=Console() if bar else None,
            callbacks=callbacks,
            report=report,
        )


def localize(
    model: nn.Module,
    at: Sequence[str],
    *,
    shape: Sequence[int],
    classes: int,
    block: Mapping[str, Any],
    optimizer: str | Mapping[str, Any] = "adam",
) -> LocalNetwork:
    """Let chosen sub-modules of an existing PyTorch model learn by themselves.

    See `ffcore.build.localize.localize`.
    """
    from ffcore.build.localize import localize as build_localize

    return build_localize(model, at, shape=shape, classes=classes, block=block, optimizer=optimizer)


def add_plugin(path: str | os.PathLike[str]) -> None:
    """Load a Python file as a plugin, as ``--plugin`` does on the command line.

    A file that was added before is read anew: edit it, add it again, and the next run uses what it says now.

    Args:
        path: the file; its stem is the plugin's name.

    Raises:
        ffcore.errors.UserError: when it cannot be loaded, or another plugin has that name; the plugins stay
            as they were.
    """
    from ffcore.plugin import manager

    manager.add(path)


def load(run_dir: str | os.PathLike[str], checkpoint: str | None = None, *, trust: bool = False) -> Predictor:
    """A finished run, ready to predict: ``ffcore.load(run.path).predict(x)``.

    Args:
        run_dir: a run's folder.
        checkpoint: "last" or "best"; None for the one that the recipe selects.
        trust: open pickles in the checkpoint, as scikit-learn's transformers leave them.

    Raises:
        ffcore.errors.UserError: when the folder is no run, or holds a pickle that nobody trusts.
    """
    from ffcore.run.predictor import Predictor
    from ffcore.trust import trusting

    with trusting(trust):
        return Predictor(os.fspath(run_dir), checkpoint)


def _flat(overrides: Mapping[str, Any], above: str = "") -> list[str]:
    import yaml

    flat: list[str] = []
    for key, value in overrides.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            # the kind first: changing it drops the old options, and only those
            flat += _flat(dict(sorted(value.items(), key=lambda item: item[0] != "kind")), f"{path}.")
        else:
            text = yaml.safe_dump(_plain(value), default_flow_style=True).strip().removesuffix("...").strip()
            flat.append(f"{path}={text}")
    return flat


def _plain(value: Any) -> Any:
    """The same in words that YAML has: a path is a string."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a number of NumPy's or PyTorch's
        return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value
