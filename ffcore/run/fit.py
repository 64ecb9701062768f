"""A run of a network that was made in Python: a folder, checkpoints, a bar and a report, without a recipe.

N samples; K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from pydantic import ValidationError
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ffcore.build.given import objects_of
from ffcore.data.arrays import InMemory
from ffcore.errors import UserError
from ffcore.network import Network
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.schema import Recipe
from ffcore.recipe.tree import Tree
from ffcore.run.finished import Run
from ffcore.run.resume import resume as run_resume
from ffcore.run.train import train

Samples = tuple[Any, Any] | DataLoader[Any] | Dataset[Any]
"""A pair of arrays or tensors (x, y), or a torch data set or loader of such pairs."""


def fit(
    net: Network,
    train_data: Samples,
    val: Samples | None = None,
    test: Samples | None = None,
    *,
    epochs: int = 10,
    optimizer: Any = "adam",
    batch_size: int = 100,
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
) -> Run:
    """Train a network, select, test, and write a run's folder, as ``ffcore run`` does for a recipe.

    The network is trained in place. Weights are those it has; order and draws derive from ``net.seed``.

    >>> import ffcore, numpy as np
    >>> net = ffcore.from_recipe("digits/ff", shape=(5,), classes=2, algorithm={"labels": "overlay"})
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(60, 5)), rng.integers(2, size=60)
    >>> run = ffcore.fit(net, (x, y), epochs=1, report=False)  # doctest: +SKIP
    >>> run.predictor().predict(x[:3]).shape  # doctest: +SKIP
    (3,)

    Args:
        net: made by `ffcore.Network`, `ffcore.localize` or `ffcore.from_recipe`.
        train_data: the samples to learn from, (N, *shape) floats or bytes, with int classes (N,). Loaders and
            data sets are read once, into memory: what they draw anew each epoch belongs into ``augment``.
        val: the samples for validation; None: a share of the training samples is kept for it.
        test: the samples that nothing is chosen on; None: figures called "test" are those of ``val``, so that
            ``trainer={"select": "best"}`` is refused.
        epochs: passes over the training samples.
        optimizer: of every block: a kind, a torch class, a function of parameters, or a mapping with a kind.
        batch_size: samples a step.
        validation: the share that is kept, where ``val`` is None.
        run_dir: an empty or new folder; None for ``runs/<name>-<time>``.
        name: what the run is called.
        classes: names of the K classes; their numbers if None.
        augment: augmentations, as objects or kinds.
        lr_schedule: a kind, a mapping with a kind, or a function (epoch, epochs) → factor.
        trainer: further lines of a recipe's ``trainer``, such as ``{"threads": 1, "select": "best"}``.
        callbacks: Lightning callbacks that watch the training.
        bar: draw a progress bar.
        report: write ``report.html`` and ``report.md``.
        resume: continue the run in ``run_dir``, which was stopped or killed; all else as then, and
            a network made anew.

    Returns:
        The run: ``run.results``, ``run.predictor()``; `ffcore.load` takes ``net=`` to open its folder later,
        since a network made in Python is not written down.

    Raises:
        UserError: when something cannot work; nothing has been written then.
    """
    if not isinstance(net, Network):
        raise UserError(
            f"net: a {type(net).__name__} is not an ffcore.Network; ffcore.localize makes one of a model"
        )
    parts = {"train": _arrays("train", train_data)}
    if val is not None:
        parts["val"] = _arrays("val", val)
    if test is not None:
        parts["test"] = _arrays("test", test)
    if val is None and test is None:
        parts["train"], parts["val"] = _cut(parts["train"], validation, net.seed)
    recipe = _recipe(
        {
            "name": name,
            "title": f"{name}, made in Python",
            "seed": net.seed,
            "data": {
                "kind": "given",
                "name": name,
                "batch_size": batch_size,
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
            "trainer.select: 'best' chooses on val; give test samples, which nothing is chosen on"
        )
    data = _data(parts, net.classes, classes, name)
    folder = Path(run_dir) if run_dir is not None else None
    console = Console() if bar else None
    how: dict[str, Any] = {"dataset": data, "console": console, "callbacks": callbacks, "report": report}
    if not resume:
        return train(recipe, folder, **how, net=net)
    if folder is None:
        raise UserError("resume: name the run's folder as run_dir")
    return run_resume(folder, **how, net=net)


def _recipe(said: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(said)
    except ValidationError as error:
        raise RecipeError.from_validation(error, Tree(said, {(): "fit"})) from None


def _data(
    parts: Mapping[str, tuple[Any, Any]], count: int, names: Sequence[str] | None, name: str
) -> InMemory:
    known = list(names) if names is not None else [str(k) for k in range(count)]
    if len(known) != count:
        raise UserError(f"classes: {len(known)} names, but the network has {count} classes")
    test = parts.get("test", parts.get("val"))
    assert test is not None, "one of them has been given or cut off"
    x_val, y_val = parts.get("val", (None, None))
    return InMemory(*parts["train"], *test, x_val=x_val, y_val=y_val, classes=known, name=name)


def _arrays(what: str, data: Samples) -> tuple[Any, Any]:
    """Samples and classes as arrays."""
    if isinstance(data, tuple | list) and len(data) == 2:
        x, y = (np.asarray(t.detach().cpu() if isinstance(t, Tensor) else t) for t in data)
    elif isinstance(data, DataLoader):
        x, y = _joined(what, iter(data), torch.cat)
    elif isinstance(data, Dataset) and hasattr(data, "__len__"):
        x, y = _joined(what, (data[i] for i in range(len(data))), torch.stack)
    else:
        raise UserError(f"{what}: should be a pair (x, y), a loader or a data set, not {type(data).__name__}")
    if x.dtype == np.float64:
        x = x.astype(np.float32)
    if x.dtype not in (np.uint8, np.float32):
        raise UserError(
            f"{what}: samples are {x.dtype}; a run takes floats or bytes. Train others by ffcore.ForwardOnly"
        )
    return x, y


def _joined(what: str, pairs: Any, join: Callable[[Any], Tensor]) -> tuple[Any, Any]:
    found = list(pairs)
    if not found or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in found):
        raise UserError(f"{what}: should give pairs (x, y)")
    columns = ([torch.as_tensor(pair[i]) for pair in found] for i in range(2))
    x, y = (join(column).cpu().numpy() for column in columns)
    return x, y


def _cut(pair: tuple[Any, Any], share: float, seed: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """A share of the samples, drawn by a seed, for validation."""
    x, y = pair
    count = round(share * len(x))
    if not 0 < count < len(x):
        raise UserError(f"validation: {share} of {len(x)} samples is no validation set; give val")
    order = np.random.default_rng(seed).permutation(len(x))
    kept, learned = order[:count], order[count:]
    return (x[learned], y[learned]), (x[kept], y[kept])
