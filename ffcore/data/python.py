"""`PythonData`: samples and targets that a function of yours returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from ffcore.blame import reported
from ffcore.data.arrays import InMemory
from ffcore.data.given import Held, Scale, by_class, divided, read
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.data.labels import are_names, indexed
from ffcore.errors import FOREIGN, UserError
from ffcore.interfaces import Task
from ffcore.options import ByName, FunctionTarget, Natural
from ffcore.parts import part
from ffcore.plugin.targets import load_target
from ffcore.tasks import Classification

_SPLITS = ("train", "val", "test")
_MODULE = {"train": "train_dataloader", "val": "val_dataloader", "test": "test_dataloader"}


class PythonData(Dataset):
    """What a function returns: arrays, tensors, torch data sets, loaders or a Lightning data module.

    The function returns a pair (x, y), a mapping with "train" and perhaps "val", "test" and "classes", a
    LightningDataModule, or an `ffcore.data.images.ImageSet`. A split is a pair (x, y), or a torch data set or
    loader of such pairs; it is read once, into memory. x is an array of floats, bytes or integers (N, ...)
    or a tuple or mapping of such. Classes may be texts: they are then numbered in sorted order.

    Args:
        target: the function, ``module:function``.
        options: its keyword arguments.
        task: what the targets are; null: one class a sample.
        scale: what a run standardises column by column, with mean and standard deviation of the training
            samples (N, D): "none", "inputs", or "all", which is also targets of real numbers. Predictors take
            and return stored values.
        test_fraction: share of the training samples that becomes the test split if there is none.
        seed: seed of that split.
    """

    def __init__(
        self,
        target: Annotated[Any, FunctionTarget()],
        options: Mapping[str, Any] | None = None,
        task: Task | ByName | None = None,
        scale: Scale = "none",
        test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        seed: Natural = 0,
    ) -> None:
        self.target = target
        self.options = dict(options or {})
        self.task: Task | None = None if task is None else part("task", task)
        self.scale: Scale = scale
        self.test_fraction = test_fraction
        self.seed = seed

    def load(self) -> ImageSet:
        """Call the function.

        Raises:
            UserError: it raises, or returns something else.
        """
        name = getattr(self.target, "__name__", str(self.target))
        try:
            function = load_target(self.target) if isinstance(self.target, str) else self.target
            made = function(**self.options)
        except UserError:
            raise
        except FOREIGN as error:
            raise UserError(f"data.target: {name} raised {reported(error)}") from error
        if isinstance(made, ImageSet):
            return made
        parts = _parts(name, made)
        classes = parts.pop("classes", None)
        task = self.task or Classification(1)  # the number of classes is not needed to read
        splits = {split: read(f"{name}, {split}", data, task) for split, data in parts.items()}
        for split, read_split in splits.items():
            if not len(read_split):
                raise UserError(f"{name}, {split}: no samples")
        return self._whole(name, splits, classes)

    def _whole(self, name: str, splits: dict[str, Split], classes: Any) -> ImageSet:
        if self.task is None and are_names(splits["train"].y):
            labels, classes = indexed(name, {split: part.y for split, part in splits.items()}, classes)
            splits = {split: Split(part.x, labels[split]) for split, part in splits.items()}
        train = splits["train"]
        if self.task is None and (train.y.ndim != 1 or train.y.dtype != np.int64):
            given = f"{train.y.dtype} {train.y.shape}"
            raise UserError(f"data: targets are {given}; for others than classes (N,) set data.task")
        if "test" not in splits:
            cut = divided if self.task is not None else by_class
            splits["train"], splits["test"] = cut(train, self.test_fraction, self.seed)
        if self.task is None and isinstance(train.x, np.ndarray) and train.x.dtype == np.uint8:
            # images of bytes are checked, and get a channel axis
            pairs = {split: (part.x, part.y) for split, part in splits.items()}
            x_val, y_val = pairs.get("val", (None, None))
            return InMemory(
                *pairs["train"], *pairs["test"], classes=classes, name=name, x_val=x_val, y_val=y_val
            ).load()
        task = self.task
        unlabelled = task is not None and task.target == "none"
        names = None if classes is None or unlabelled else tuple(map(str, classes))
        if task is None:
            count = max(int(part.y.max()) for part in splits.values()) + 1
            if names is None and count > int(train.y.max()) + 1:
                raise UserError(
                    f"data: a class of the other splits is {count - 1}, but those of train end at "
                    f"{int(train.y.max())}; name all classes in 'classes'"
                )
            task = Classification(max(1, count) if names is None else len(names))
        return Held(splits["train"], splits["test"], task, names, name, splits.get("val"), self.scale).load()


def _parts(name: str, made: Any) -> dict[str, Any]:
    """Return the splits of what the function returned, and perhaps "classes".

    Raises:
        UserError: there is no training split.
    """
    if isinstance(made, Mapping):
        known = {key: made[key] for key in (*_SPLITS, "classes") if made.get(key) is not None}
    elif hasattr(made, "train_dataloader"):
        known = _of_module(made)
    else:
        known = {"train": made}
    if "train" not in known:
        given = (
            f"a mapping with {', '.join(map(str, made))}"
            if isinstance(made, Mapping)
            else type(made).__name__
        )
        raise UserError(f"data.target: {name} returned {given}; there is no training split 'train'")
    return known


def _of_module(module: Any) -> dict[str, Any]:
    """Return the loaders of a Lightning data module."""
    module.prepare_data()
    module.setup("fit")
    module.setup("test")
    known = {}
    for split, method in _MODULE.items():
        try:
            loader = getattr(module, method)()
        except FOREIGN as error:
            # Lightning's own class raises for a split that a module does not have
            if split == "train" or "must be implemented" not in str(error):
                raise UserError(f"data.target: {method} raised {reported(error)}") from error
            continue
        if loader is not None:
            known[split] = loader
    return known
