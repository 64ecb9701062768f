"""Whether a run that goes on is the one that began."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ffcore import files
from ffcore.errors import UserError
from ffcore.ranks import join
from ffcore.recipe.schema import Recipe
from ffcore.recipe.trainer import WHERE
from ffcore.run import environment


def refuse_edited(
    run_dir: Path, meta: Mapping[str, Any], recipe: Recipe, objects: Mapping[str, Any] | None
) -> None:
    """Refuse a recipe that is not the one that a checkpoint was written by. Records of objects are compared.

    Args:
        run_dir: the run's folder.
        meta: what ffcore has added to the checkpoint.
        recipe: the recipe as it is now.
        objects: those in it that were given again.

    Raises:
        UserError: with the first place where they differ.
    """
    if "recipe" in meta and (changed := difference(recipe, Recipe.model_validate(meta["recipe"]))):
        what = f"{files.CONFIG} or an object" if objects else files.CONFIG
        raise UserError(
            f"--resume {run_dir}: {what} has been changed since the run began: {changed}; "
            "a run goes on as it began"
        )


def difference(one: Recipe, other: Recipe) -> str | None:
    """The first place where two recipes differ in what is computed, in words."""
    trees = [recipe.model_dump(mode="json") for recipe in (one, other)]
    for tree in trees:
        tree["trainer"] = {name: value for name, value in tree["trainer"].items() if name not in WHERE}
    found = join.difference(trees[0], trees[1])
    return None if found is None else f"its {found[0]} is {found[1]!r}, not {found[2]!r}"


def tell_other_plugins(then: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Tell which plugins have changed since ``then``, in one line each."""
    now = environment.plugins()
    for name in sorted(then.keys() & now.keys()):
        if then[name] != now[name]:
            tell(f"plugin {name} is {now[name]}, and was {then[name]} when the run began")
