"""Checks the recipes of a sweep before its first run starts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ffcore.blame import blaming
from ffcore.data.images import Dataset, ImageSet
from ffcore.errors import UserError
from ffcore.plugin import manager
from ffcore.ranks import join
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.schema import Recipe
from ffcore.recipe.tree import FROM_PYTHON, Tree
from ffcore.run import start
from ffcore.run.train import Job, reporter
from ffcore.tasks import Classification


@dataclass(frozen=True)
class Facts:
    """What a search needs to know of the run of a recipe.

    Attributes:
        validated: whether the data have a validation split.
        headline: the headline of its task; None for the classification of samples.
        lower: whether smaller headlines are better.
    """

    validated: bool
    headline: str | None
    lower: bool


def checker() -> Callable[[Recipe], Facts]:
    """Returns a function that raises what `train` would raise for a recipe. It reads each data set once."""
    read: dict[str, Dataset] = {}

    def check(recipe: Recipe) -> Facts:
        _refuse_unknown(recipe)
        join.check(recipe)
        name = repr(recipe.data.dataset.dump())
        with blaming(UserError), tempfile.TemporaryDirectory() as folder:
            job = Job.prepare(recipe, read.get(name), None, ())
            read[name] = _Read(job.data.images)
            start.load(job.module, recipe)
            job.callbacks.loggers(Path(folder), reporter(None))
        task = job.module.net.task
        plain = type(task) is Classification
        return Facts(job.data.val is not None, None if plain else task.headline, task.lower)

    return check


def _refuse_unknown(recipe: Recipe) -> None:
    """Raise if a recipe names a component that another process does not have.

    Raises:
        UserError: with what to do instead.
    """
    tree = Tree(recipe.model_dump(mode="json"), {(): FROM_PYTHON})
    try:
        with manager.current().of_other_processes():
            Recipe.model_validate(tree.data)
    except ValidationError as error:
        raise UserError(
            f"{RecipeError.from_validation(error, tree)}. Each run of a sweep is a process, which knows "
            "installed plugins and plugin files, but no components that this process has registered; name a "
            "class as package.module:Class"
        ) from None


@dataclass(frozen=True)
class _Read(Dataset):
    """A data set that is already in memory."""

    images: ImageSet

    def load(self) -> ImageSet:
        return self.images
