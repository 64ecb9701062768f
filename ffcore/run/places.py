"""The files that a recipe names, found from any folder."""

from __future__ import annotations

from pathlib import Path

from ffcore.recipe.schema import Recipe

_PLACES = (("data", "root"), ("data", "path"), ("data", "cache"), ("start", "run"))


def absolute(recipe: Recipe) -> Recipe:
    """The same recipe with whole paths, so that it means the same wherever a run goes on or is evaluated."""
    said = recipe.model_dump(mode="json")
    for part, name in _PLACES:
        named = (said[part] or {}).get(name)
        if isinstance(named, str) and (path := Path(named).expanduser()).exists():
            said[part][name] = str(path.absolute())
    return Recipe.model_validate(said)
