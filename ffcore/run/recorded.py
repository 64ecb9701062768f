"""The recipe in a run directory. If it needs a missing plugin, the message has the command of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ffcore import files
from ffcore.errors import UserError
from ffcore.reading import read_text
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.load import load
from ffcore.recipe.schema import Recipe
from ffcore.recipe.text import parse


def recipe_of(
    run_dir: Path, overrides: Sequence[str] = (), objects: Mapping[str, Any] | None = None
) -> Recipe:
    """Load the recipe of a run.

    Args:
        run_dir: the run directory.
        overrides: as for `ffcore.recipe.load.load`.
        objects: Python objects of the recipe by path, which ``config.yaml`` only describes.

    Raises:
        UserError: the recipe is not valid, for example since a plugin is not loaded.
    """
    try:
        return load(str(run_dir / files.CONFIG), overrides, objects)
    except UserError as error:
        made_by = _command(run_dir) or ""
        if "--plugin" in made_by:
            error = UserError(f"{error} (the run was made by: {made_by})")
        raise error from None


def _command(run_dir: Path) -> str | None:
    """Return the command line of a run; None if it is not known, as of a run without a checkpoint."""
    # imported only for this message: the import of torch takes seconds
    from ffcore.report.results import read_results
    from ffcore.run import checkpoints

    with suppress(UserError):
        return read_results(run_dir).get("command")
    with suppress(UserError):
        state = checkpoints.newest(run_dir / files.CHECKPOINTS)[1]
        return None if state is None else state["ffcore"].get("command")
    return None


def recorded(run_dir: Path) -> Recipe:
    """Returns the recipe in a run's ``config.yaml``, with descriptions in place of its Python objects.

    Raises:
        UserError: the file cannot be read, or is not a recipe.
    """
    tree = parse(read_text(run_dir / files.CONFIG), files.CONFIG)
    try:
        return Recipe.model_validate(tree.data)
    except ValidationError as error:
        raise RecipeError.from_validation(error, tree) from error
