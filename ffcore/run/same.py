"""Checks that a resumed run has the recipe and the plugins that it began with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ffcore import files
from ffcore.errors import UserError, one_line
from ffcore.ranks import join
from ffcore.recipe.schema import Recipe
from ffcore.recipe.trainer import WHERE, WHERE_DATA, says_where
from ffcore.run import environment


def refuse_overrides(run_dir: Path, overrides: Sequence[str]) -> None:
    """Check that overrides change only where a run computes, or where its data are.

    Raises:
        UserError: one of them changes the recipe.
    """
    for override in overrides:
        if not says_where(override):
            raise UserError(
                f"{run_dir}: {override}: a resumed run keeps its recipe; only options of where it "
                "runs may change"
            )


def refuse_edited(
    run_dir: Path, meta: Mapping[str, Any], recipe: Recipe, objects: Mapping[str, Any] | None
) -> None:
    """Raise if the recipe differs from that of the checkpoint. Python objects are compared by their records.

    Args:
        run_dir: the run directory.
        meta: the data that ffcore added to the checkpoint.
        recipe: the current recipe.
        objects: Python objects of the recipe that were given for resuming.

    Raises:
        UserError: the recipes differ; the message names the first difference.
    """
    if meta.get("recipe") is None:
        return
    try:
        before = Recipe.model_validate(meta["recipe"])
    except ValueError as error:  # of pydantic
        raise UserError(
            f"{run_dir}: the recipe in the checkpoint is not valid: {one_line(error, 200)}"
        ) from error
    if changed := difference(recipe, before):
        what = f"{files.CONFIG} or an object" if objects else files.CONFIG
        raise UserError(
            f"{run_dir}: {what} has been changed since the run began: {changed}; "
            "a resumed run keeps its recipe"
        )


def difference(one: Recipe, other: Recipe) -> str | None:
    """Returns a description of the first difference between two recipes; None if both compute the same.

    Options of where a run computes, such as the number of devices, and where its data are, are not compared.
    """
    trees = [recipe.model_dump(mode="json") for recipe in (one, other)]
    for tree in trees:
        tree["data"] = {name: value for name, value in tree["data"].items() if name not in WHERE_DATA}
        tree["trainer"] = {name: value for name, value in tree["trainer"].items() if name not in WHERE}
    first = join.difference(trees[0], trees[1])
    return None if first is None else f"its {first[0]} is {first[1]!r}, not {first[2]!r}"


def report_changed_plugins(before: Mapping[str, str], report: Callable[[str], None]) -> None:
    """Report each plugin whose version differs from ``before``, in one line."""
    now = environment.plugins()
    for name in sorted(before.keys() & now.keys()):
        if before[name] != now[name]:
            report(f"plugin {name} is {now[name]}, but was {before[name]} when the run began")
