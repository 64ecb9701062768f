"""`fit`: trains a network made in Python, with run directory, checkpoints, progress bar and report.

N samples; K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from pydantic import ValidationError
from torch.utils.data import DataLoader

from ffcore.build.given import objects_of
from ffcore.data.arrays import InMemory
from ffcore.data.given import Held, Samples, read
from ffcore.data.images import Dataset, Split
from ffcore.data.split import permutation
from ffcore.engine.bar import console_of
from ffcore.errors import UserError, expect, expect_time
from ffcore.interfaces import Task
from ffcore.interfaces.modes import modes_kept
from ffcore.network import Network
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.schema import Recipe
from ffcore.recipe.tree import Tree
from ffcore.run.finished import Run
from ffcore.run.resume import resume as run_resume
from ffcore.run.train import train
from ffcore.tasks import Classification

__all__ = ["dataset_of", "fit"]


def fit(
    net: Network,
    train_data: Samples,
    val: Samples | None = None,
    test: Samples | None = None,
    *,
    epochs: int = 10,
    optimizer: Any = "adam",
    batch_size: int | None = None,
    validation: float = 0.1,
    run_dir: str | Path | None = None,
    name: str = "network",
    classes: Sequence[str] | None = None,
    augment: Sequence[Any] = (),
    lr_schedule: Any = "constant",
    trainer: Mapping[str, Any] | None = None,
    callbacks: Sequence[L.Callback] = (),
    bar: bool = False,
    report: bool = True,
    resume: bool = False,
    max_time: float | None = None,
) -> Run:
    """Train a network, select the weights, test, and write a run directory, as ``ffcore run`` does.

    The network is trained in place, from its current weights. The order of the samples and all random numbers
    derive from ``net.seed``.

    >>> import ffcore, numpy as np
    >>> net = ffcore.from_recipe("digits/ff", shape=(5,), classes=2, algorithm={"labels": "overlay"})
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(60, 5)), rng.integers(2, size=60)
    >>> run = ffcore.fit(net, (x, y), epochs=1, report=False)  # doctest: +SKIP
    >>> run.predictor().predict(x[:3]).shape  # doctest: +SKIP
    (3,)

    Args:
        net: made by `ffcore.Network`, `ffcore.localize` or `ffcore.from_recipe`.
        train_data: the training samples, (N, *shape) floats, bytes or integers such as tokens, or a tuple or
            mapping of these, with int classes (N,) or the targets of the network's task. Loaders and data
            sets are read once, into memory: give random augmentations as ``augment``.
        val: the validation samples; None: a share of the training samples, see ``validation``.
        test: the test samples, which nothing is selected on; None: the metrics called "test" are those of
            ``val``, and ``trainer={"select": "best"}`` is an error.
        epochs: iterations over the training samples.
        optimizer: of every block: a kind, a torch class, a function of parameters, or a mapping with a kind.
        batch_size: samples per step; None: those of the loader ``train_data``, or 100.
        validation: the share of the training samples for validation, if ``val`` is None.
        run_dir: an empty or new directory; None for ``runs/<name>-<time>``.
        name: the name of the run.
        classes: names of the K classes; their indices if None.
        augment: augmentations, as objects or kinds.
        lr_schedule: a kind, a mapping with a kind, or a function (epoch, epochs) → factor.
        trainer: further options of a recipe's ``trainer``, such as ``{"threads": 1, "select": "best"}``.
        callbacks: Lightning callbacks.
        bar: draw a progress bar.
        report: write ``report.html`` and ``report.md``.
        resume: resume the run in ``run_dir``, which was stopped or killed. All other arguments as in the
            first call, with a newly made network.
        max_time: seconds after which the run writes a checkpoint and stops, if it is not finished.

    Returns:
        The run, with ``run.results`` and ``run.predictor()``. To open its directory later, give `ffcore.load`
        the network as ``net=``: a network made in Python is not stored.

    Raises:
        UserError: an argument is not valid; no file has been written.
        TimeUpError: ``max_time`` has passed.
    """
    expect_time(max_time)
    if not isinstance(net, Network):
        raise UserError(
            f"net: a {type(net).__name__} is not an ffcore.Network; ffcore.localize makes one of a model"
        )
    expect("trainer", trainer or {}, Mapping, "a mapping of options")
    expect("augment", augment, Sequence, "a list of augmentations")
    data = dataset_of(net, train_data, val, test, validation=validation, name=name, classes=classes)
    recipe = _recipe(
        {
            "name": name,
            "title": f"{name}, made in Python",
            "seed": net.seed,
            "data": {
                "kind": "given",
                "name": name,
                "batch_size": _batch_size(train_data) if batch_size is None else batch_size,
                "validation": validation,
                "standardise": False,
                "augment": list(augment),
            },
            **objects_of(net),
            "optimizer": optimizer,
            "lr_schedule": lr_schedule,
            "trainer": {**(trainer or {}), "max_epochs": epochs},
        }
    )
    if test is None and recipe.trainer.select == "best":
        raise UserError(
            "trainer.select: 'best' selects on val; give test samples, which nothing is selected on"
        )
    folder = Path(run_dir) if run_dir is not None else None
    how: dict[str, Any] = {
        "dataset": data,
        "console": console_of(bar),
        "callbacks": callbacks,
        "report": report,
        "max_time": max_time,
    }
    with modes_kept(net):  # what is measured in the end leaves it in evaluation mode
        if not net.training:  # as `ffcore.load` returns it
            net.train()
        if not resume:
            return train(recipe, folder, **how, net=net)
        if folder is None:
            raise UserError("resume: give the run directory as run_dir")
        return run_resume(folder, **how, net=net)


def dataset_of(
    net: Network,
    train_data: Samples,
    val: Samples | None = None,
    test: Samples | None = None,
    *,
    validation: float = 0.1,
    name: str = "network",
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Return the data set of a run of `fit`, from the same arguments; see there.

    Raises:
        UserError: samples or targets do not fit the network's task.
    """
    parts = {"train": read("train", train_data, net.task)}
    if val is not None:
        parts["val"] = read("val", val, net.task)
    if test is not None:
        parts["test"] = read("test", test, net.task)
    if net.floats is False:  # bytes are tokens then: a loader would scale them to 0 … 1
        parts = {part: Split(_whole_numbers(split.x), split.y) for part, split in parts.items()}
    if val is None:
        _refuse_repeated(train_data)
    if val is None and test is None:
        parts["train"], parts["val"] = _cut(parts["train"], validation, net.seed)
    return _data(parts, net.task, classes, name)


def _batch_size(data: Samples) -> int:
    of_loader = data.batch_size if isinstance(data, DataLoader) else None  # None with a batch sampler
    return of_loader or 100


def _refuse_repeated(data: Samples) -> None:
    """Raise if a loader may give a sample twice: once for training and once for validation.

    Raises:
        UserError: its sampler draws with replacement.
    """
    if isinstance(data, DataLoader) and getattr(data.sampler, "replacement", False):
        raise UserError(
            "train: the sampler of the loader draws with replacement, so that the same sample may be in the "
            "training and the validation split; give val, or a loader without such a sampler"
        )


def _whole_numbers(x: Any) -> Any:
    return x.astype(np.int64) if isinstance(x, np.ndarray) and x.dtype == np.uint8 else x


def _recipe(content: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError.from_validation(error, Tree(content, {(): "fit"})) from None


def _data(parts: Mapping[str, Split], task: Task, names: Sequence[str] | None, name: str) -> Dataset:
    count = task.columns
    if isinstance(names, str) or not isinstance(names, Iterable | None):
        raise UserError(f"classes: should be a list of {count} names, not {names!r}")
    known = list(names) if names is not None else [str(k) for k in range(count)]
    if len(known) != count:
        raise UserError(f"classes: {len(known)} names, but the network has {count} classes")
    train, val, test = parts["train"], parts.get("val"), parts.get("test", parts.get("val"))
    assert test is not None, "val or test was given, or val was split off"
    plain = isinstance(train.x, np.ndarray) and train.x.dtype != np.int64
    if plain and type(task) is Classification:
        x_val, y_val = (None, None) if val is None else (val.x, val.y)
        return InMemory(
            *(train.x, train.y, test.x, test.y), x_val=x_val, y_val=y_val, classes=known, name=name
        )
    return Held(train, test, task, tuple(map(str, known)), name, val)


def _cut(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Split a random share of the samples off for validation. Returns (training, validation)."""
    expect("validation", share, (int, float), "a number between 0 and 1")
    count = round(share * len(split)) if math.isfinite(share) else 0
    if not 0 < count < len(split):
        raise UserError(
            f"validation: {share} of {len(split)} samples leaves no samples for training or validation; give "
            "val"
        )
    # A resumed run makes this split again: it must depend on the seed alone.
    order = permutation(len(split), seed, own=True)
    return split.take(order[count:]), split.take(order[:count])
