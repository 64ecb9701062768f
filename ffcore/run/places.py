"""Absolute paths for the files that a recipe names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import Kind
from ffcore.recipe.trainer import WHERE_DATA


def absolute(recipe: Recipe) -> Recipe:
    """Returns the recipe with absolute paths: a run can be resumed or evaluated from any directory."""
    changed: dict[str, Any] = {}
    dataset = recipe.data.dataset
    options = dataset.dump() if dataset.object is None else {}
    if paths := {name: path for name in WHERE_DATA if (path := _absolute(options.get(name))) is not None}:
        dataset = Kind("dataset").validate({**options, **paths})
        changed["data"] = recipe.data.model_copy(update={"dataset": dataset})
    if recipe.start is not None and (run := _absolute(recipe.start.run)) is not None:
        changed["start"] = recipe.start.model_copy(update={"run": run})
    return recipe.model_copy(update=changed)


def _absolute(named: Any) -> str | None:
    """Returns the absolute path of an existing file; None for any other value."""
    if isinstance(named, str) and (path := Path(named).expanduser()).exists():
        return str(path.absolute())
    return None
