"""The data of a recipe: the data set, its validation split, its statistics and its loaders."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ffcore.build.components import make
from ffcore.build.form import Form
from ffcore.build.transform import as_in
from ffcore.data import encodings
from ffcore.data.encoding import Encoding
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.data.label_noise import with_wrong_labels
from ffcore.data.loader import DeviceLoader
from ffcore.data.split import cut
from ffcore.data.statistics import statistics
from ffcore.errors import UserError, expect
from ffcore.interfaces import Statistics, Task
from ffcore.recipe.data import Moments
from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import Kind
from ffcore.tasks import Regression


@dataclass(frozen=True)
class Data:
    """A data set with its validation split, and mean and standard deviation for standardisation.

    ``stored`` describes samples before the recipe's transform: shape, dtype and scale; None without one.
    """

    images: ImageSet
    train: Split
    val: Split | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    recipe: Recipe
    stored: Mapping[str, Any] | None = None

    def statistics(self) -> Statistics:
        """Returns the class counts and the range of the training samples, scaled and standardised.

        Counts are those of single classes a sample, and ranges those of one float or byte input; else zero.
        """
        x, counts = self.train.x, np.zeros(self.images.num_classes, dtype=np.int64)
        if self.images.task is None:
            counts = np.bincount(self.train.y, minlength=self.images.num_classes)
        if not isinstance(x, np.ndarray):
            return Statistics(tuple(counts.tolist()), 0.0, 0.0, self.mean, self.std)
        channels = list(zip(self.mean, self.std, strict=True))
        ends = [float((end * self.images.scale - m) / s) for end in (x.min(), x.max()) for m, s in channels]
        return Statistics(tuple(counts.tolist()), min(ends), max(ends), self.mean, self.std)

    @classmethod
    def open(
        cls,
        recipe: Recipe,
        dataset: Dataset | None = None,
        task: Task | None = None,
        encoding: Encoding | None = None,
        *,
        learning: bool = False,
    ) -> Data:
        """Read the data set of the recipe, or ``dataset`` instead of it.

        ``task`` and ``encoding`` are those of a trained network: targets are standardised, and the columns of
        a table encoded, as in its training. Only for ``learning`` are labels replaced, with
        ``data.label_noise``: a finished run is measured with those of the files.

        Raises:
            UserError: files are missing or damaged, or the validation split does not fit.
        """
        config = recipe.data
        source = dataset if dataset is not None else make(config.dataset, "data")
        expect("data", source, Dataset, "an instance of ffcore.data.images.Dataset")
        images = (source if encoding is None else source.encoded_as(encoding)).load()
        expect(f"data: the result of {type(source).__name__}.load", images, ImageSet, "an ImageSet")
        if images.target.target == "class" and images.num_classes < 2:
            raise UserError(
                f"data: {images.name} has one class only; classification needs at least 2 classes"
            )
        stored = None
        if config.transform is not None:
            before = Form.of(images).dump()
            stored = {"shape": before["shape"], "dtype": before["dtype"], "scale": images.scale}
            images = as_in(recipe, images)
        try:
            train, val = images.train, images.val
            if val is None:
                train, val = cut(images.train, config.validation, config.split_seed, images.own)
        except UserError as error:
            raise UserError(f"data.validation: {error}") from error
        if config.label_noise:
            if images.target.target != "class" or images.task is not None:
                raise UserError("data.label_noise: targets are not one class a sample; set it to 0")
            if learning:
                train = with_wrong_labels(train, config.label_noise, images.num_classes, recipe.seed)
        if config.standardise and not (isinstance(train.x, np.ndarray) and train.x.dtype != np.int64):
            raise UserError("data.standardise: samples are not one array of floats or bytes; set it to false")
        # Only from the training samples: statistics of validation or test samples must not reach the inputs.
        mean, std = _moments(config.standardise, train, images.scale)
        if images.by_column != "none":
            mean, std = _of_columns(train.x, images.scale)
        if images.target.target == "values":
            images, train, val = _standardised(images, train, val, task)
            _warn_of_scales(train.y.reshape(len(train), -1), images.classes)
        return cls(images, train, val, mean, std, recipe, stored)

    def loader(
        self,
        split: Split,
        device: torch.device,
        epoch: Callable[[], int] | None,
        rank: int = 0,
        world: int = 1,
    ) -> DeviceLoader:
        """Returns a loader of ``split`` with the recipe's batch size; shuffled if ``epoch`` is given.

        The loader returns share ``rank`` of ``world`` of every batch. Training and evaluation use the same
        batch size, so that evaluation needs no more memory than training.

        Raises:
            UserError: the batch size does not fit.
        """
        recipe = self.recipe
        loader = DeviceLoader(
            split,
            scale=self.images.scale,
            batch_size=recipe.data.batch_size,
            device=device,
            shuffle=epoch is not None,
            seed=recipe.seed,
            rank=rank,
            world=world,
            dtype=torch.float64 if recipe.trainer.precision == "64-true" else torch.float32,
            mean=self.mean,
            std=self.std,
        )
        if epoch is not None and recipe.data.batches == "new":
            loader.epoch = epoch
        return loader

    def describe(self) -> dict[str, Any]:
        """Returns the description of the data set in ``results.json``."""
        return {
            "name": self.images.name,
            "shape": Form.of(self.images).dump()["shape"],
            "classes": list(self.images.classes),
            "train": len(self.train),
            "validation": len(self.val) if self.val is not None else 0,
            "test": len(self.images.test),
            "provenance": dict(self.images.provenance),
        }

    def meta(self) -> dict[str, Any]:
        """Returns the description of the data set in checkpoints, for predictors and resuming."""
        return {
            "name": self.images.name,
            **Form.of(self.images).dump(),
            "classes": list(self.images.classes),
            "scale": self.images.scale,
            "mean": list(self.mean),
            "std": list(self.std),
            "provenance": dict(self.images.provenance),
            **({} if self.stored is None else {"stored": dict(self.stored)}),
            **({} if self.images.encoding is None else {"encoding": encodings.dumped(self.images.encoding)}),
        }


_WIDE, _FAR = 100.0, 30.0
"""Standard deviation of a target, and ratio of two of them or of its mean to it, above which a run warns."""


def _warn_of_scales(y: np.ndarray, names: Sequence[str]) -> None:
    """Warn if targets are large, or if one value decides the loss of all."""
    std = y.std(0, dtype=np.float64)
    low, high = int(np.where(std > 0, std, np.inf).argmin()), int(std.argmax())  # a constant does not count
    mean = np.abs(y.mean(0, dtype=np.float64))
    far = int((mean - _FAR * std).argmax())
    if mean[far] > max(_FAR * std[far], _FAR):
        warnings.warn(
            f"data: targets of {names[far]!r} have the mean {mean[far]:.3g}, but a standard deviation of "
            f"{std[far]:.3g}: standardise them, with data.scale: all, or before ffcore.fit",
            stacklevel=4,
        )
    if std[high] <= _WIDE and std[high] <= _FAR * std[low]:
        return
    what = f"of {names[high]!r} have the standard deviation {std[high]:.3g}"
    if low != high:
        what += f", those of {names[low]!r} {std[low]:.3g}"
    warnings.warn(
        f"data: targets {what}; losses are those of the largest: standardise them, with data.scale: all, or "
        "before ffcore.fit",
        stacklevel=4,
    )


def _of_columns(values: np.ndarray, scale: float = 1.0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each scaled column; the deviation of a constant column is 1."""
    mean, std = scale * values.mean(0, dtype=np.float64), scale * values.std(0, dtype=np.float64)
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())


def _moments(
    asked: bool | Moments, train: Split, scale: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each channel, or one for all.

    Raises:
        UserError: when there are others than one, or one a channel.
    """
    if not asked:
        return (0.0,), (1.0,)
    if asked is True:
        return statistics(train, scale)
    channels = train.x.shape[1] if train.x.ndim == 4 else 1
    for name, numbers in (("mean", asked.mean), ("std", asked.std)):
        if len(numbers) not in (1, channels):
            raise UserError(
                f"data.standardise.{name}: {len(numbers)} numbers; should be one, or one for each of the "
                f"{channels} channels"
            )
    length = max(len(asked.mean), len(asked.std))
    mean, std = (tuple(n * (length // len(n))) for n in (asked.mean, asked.std))
    return mean, std


def _standardised(
    images: ImageSet, train: Split, val: Split | None, task: Task | None
) -> tuple[ImageSet, Split, Split | None]:
    """Return the data set with the targets that losses read, and the task with their statistics, if any.

    The statistics are those of a trained network, of the data's task, or with ``scale: all`` of the training
    samples.
    """
    given = (each for each in (task, images.task) if isinstance(each, Regression) and each.standardises)
    known = next(given, None)
    if known is None:
        if images.by_column != "all":
            return images, train, val
        columns = images.target.columns
        mean, std = _of_columns(train.y.reshape(-1, columns))
        known = Regression(columns, mean, std)

    def scaled(split: Split) -> Split:
        return Split(split.x, known.standardised(torch.from_numpy(split.y)).numpy())

    whole = replace(
        images,
        train=scaled(images.train),
        test=scaled(images.test),
        val=None if images.val is None else scaled(images.val),
        task=known,
    )
    return whole, scaled(train), None if val is None else scaled(val)


def with_given_data(recipe: Recipe, name: str) -> Recipe:
    """Returns the recipe of a run on data from Python, without file names: they would be of other data."""
    given = Kind("dataset").validate({"kind": "given", "name": name})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"dataset": given})})


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Returns the first file whose checksum differs, or that is new or missing; None if all are the same.

    The names of moved files may differ: only the checksums, in their order, identify data.
    """
    if list(before.values()) == list(now.values()):
        return None
    return next((name for name in [*now, *before] if before.get(name) != now.get(name)), "the order of files")
