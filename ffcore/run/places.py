"""The files that a recipe names, found from any folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import Kind

_OF_DATA = ("root", "path", "cache")


def absolute(recipe: Recipe) -> Recipe:
    """The same recipe with whole paths, so that it means the same wherever a run goes on or is evaluated."""
    changed: dict[str, Any] = {}
    dataset = recipe.data.dataset
    said = dataset.dump() if dataset.object is None else {}
    if found := {name: whole for name in _OF_DATA if (whole := _whole(said.get(name))) is not None}:
        dataset = Kind("dataset").validate({**said, **found})
        changed["data"] = recipe.data.model_copy(update={"dataset": dataset})
    if recipe.start is not None and (run := _whole(recipe.start.run)) is not None:
        changed["start"] = recipe.start.model_copy(update={"run": run})
    return recipe.model_copy(update=changed)


def _whole(named: Any) -> str | None:
    """The whole path of a file that is there; None for anything else."""
    if isinstance(named, str) and (path := Path(named).expanduser()).exists():
        return str(path.absolute())
    return None
