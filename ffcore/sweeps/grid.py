"""The runs of a sweep: every combination of seeds and of the values of overrides."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ffcore.errors import UserError
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.load import dump, load
from ffcore.recipe.schema import Recipe
from ffcore.recipe.text import parse_value
from ffcore.run.places import absolute

# A quoted string, or one character. The quote must not follow a letter: an apostrophe is not a quote.
_QUOTED_OR_ONE = re.compile(r"""(?<!\w)"(?:\\.|[^"\\])*"|(?<!\w)'[^']*'|.""", re.DOTALL)


@dataclass
class SweepRun:
    """A run of a sweep.

    Attributes:
        name: name of its run directory in the sweep's directory, and of its log beside it.
        point: its overrides from the grid, without the seed.
        overrides: all its overrides.
        recipe: the complete recipe as YAML; None before `check`.
        seed: the seed of its recipe.
        status: exit status of its process; None before it has ended.
        error: the last line that it printed, if it failed.
        trial: number of its trial in the study of a search; None in a grid.
        pruned: whether a search has stopped it.
    """

    name: str
    point: tuple[str, ...]
    overrides: tuple[str, ...]
    seed: int | None = None
    status: int | None = None
    error: str | None = None
    recipe: str | None = field(default=None, compare=False, repr=False)
    trial: int | None = None
    pruned: bool = False


def plan(name: str, overrides: Sequence[str], seeds: Sequence[int] = ()) -> list[SweepRun]:
    """Returns the runs of a sweep; an empty list if no override has several values and no seeds are given.

    Args:
        name: name or path of the recipe.
        overrides: as for `ffcore.recipe.load.load`. A value that has commas outside of brackets and quotes,
            and is not valid as one value, is a list of values.
        seeds: the seeds of the sweep.

    Raises:
        UserError: a value is empty or given twice, or two overrides set the same path.
    """
    axes = several_values(name, overrides)
    if seeds:
        axes[len(overrides)] = [f"seed={seed}" for seed in seeds]
        overrides = (*overrides, "seed=")
    paths = [path_of(override) for override in overrides]
    for index, values in axes.items():
        refuse_twice(values)
        if paths.count(paths[index]) > 1:
            raise UserError(f"{paths[index]}: has several values, and is set by a second override")
    # The seed varies fastest, wherever it was given: runs that differ only in their seed are neighbours.
    order = sorted(axes, key=lambda index: paths[index] == "seed")
    runs: list[SweepRun] = []
    for chosen in itertools.product(*(axes[index] for index in order)) if axes else ():
        choice = dict(zip(order, chosen, strict=True))
        point = tuple(one for one in chosen if path_of(one) != "seed")
        whole = tuple(choice.get(index, override) for index, override in enumerate(overrides))
        runs.append(SweepRun(_name(chosen, {run.name for run in runs}), point, whole))
    return runs


def check(name: str, runs: Sequence[SweepRun], build: Callable[[Recipe], object]) -> str:
    """Check the recipes of all runs before the first one is started.

    Args:
        name: name or path of the recipe.
        runs: get their seeds and recipes.
        build: raises if a recipe is not valid; called for one seed of each point of the grid.

    Returns:
        The ``name`` in the recipe.

    Raises:
        UserError: a recipe is not valid; the message names the values of its overrides.
    """
    problems: dict[tuple[str, ...], UserError | None] = {}
    for run in runs:
        try:
            recipe = load(name, run.overrides)
            if run.point not in problems:
                build(recipe)
                problems[run.point] = None
            recipe = absolute(recipe)
            own, run.seed, run.recipe = recipe.name, recipe.seed, dump(recipe)
        except UserError as problem:
            problems[run.point] = problem
    _refuse(problems)
    return own


def _refuse(problems: Mapping[tuple[str, ...], UserError | None]) -> None:
    """Raise the first problem, with those values of the grid for which all runs fail."""
    failed = {point: problem for point, problem in problems.items() if problem is not None}
    for point, problem in failed.items():
        if len(failed) == len(problems) and len({str(one) for one in failed.values()}) == 1:
            raise problem  # every run fails in the same way: the values of the grid are not the cause
        blamed = [one for one in point if all(other in failed for other in problems if one in other)] or point
        if any(one in str(problem) for one in blamed):
            raise problem
        raise UserError(f"with {' '.join(blamed)}: {problem}") from problem


def path_of(override: str) -> str:
    """Returns the path of an override."""
    return override.partition("=")[0].strip()


def several_values(name: str, overrides: Sequence[str]) -> dict[int, list[str]]:
    """Returns the overrides with several values, by their index among ``overrides``."""
    several = {}
    for index, override in enumerate(overrides):
        path, _, text = override.partition("=")
        if len(values := split(text)) > 1:
            several[index] = [f"{path.strip()}={value.strip()}" for value in values]
    firsts = [several[i][0] if i in several else override for i, override in enumerate(overrides)]
    return {
        index: values for index, values in several.items() if not loads_as_one(name, overrides, firsts, index)
    }


def loads_as_one(name: str, overrides: Sequence[str], firsts: Sequence[str], index: int) -> bool:
    """Whether an override is valid as one value, with the first value of each other override."""
    here = overrides[index]
    # A later override of the same path would hide this one.
    after = [one for one in firsts[index + 1 :] if path_of(one) != path_of(here)]
    try:
        load(name, [*firsts[:index], here, *after])
    except RecipeError:
        return False
    return True


def split(text: str) -> list[str]:
    """Split a string at the commas outside of brackets and quotes.

    >>> split("1e-3,3e-3"), split("[1,2],'a,b'"), split("[1,2]")
    (['1e-3', '3e-3'], ['[1,2]', "'a,b'"], ['[1,2]'])
    """
    parts, depth = [""], 0
    for piece in _QUOTED_OR_ONE.findall(text):
        depth += (piece in "[{") - (piece in "]}")
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def refuse_twice(values: Sequence[str]) -> None:
    """Raise if an override, such as ``optimizer.lr=0.1``, has an empty value or is given twice."""
    seen: set[str] = set()
    for override in values:
        path, _, text = override.partition("=")
        if not text:
            raise UserError(f"{path}: one of its values is empty; write null for an empty value")
        if (value := _plain(text)) in seen:
            raise UserError(f"{path}: {text} is given twice")
        seen.add(value)


def _plain(text: str) -> str:
    """Returns a value in its canonical spelling: ``1e-3`` is 0.001."""
    try:
        value = parse_value(text)
    except RecipeError:
        return text  # the loader raises the error for it
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value).replace("e+", "e") if number else text


def _name(chosen: Sequence[str], taken: Iterable[str]) -> str:
    """Returns a directory name such as ``optimizer.lr-0.001+seed-2``, unique among ``taken``."""
    safe = (re.sub(r"[^\w.-]+", " ", _plain(one.partition("=")[2])).strip() for one in chosen)
    words = (f"{path_of(one)}-{value}" for one, value in zip(chosen, safe, strict=True))
    stem = "+".join(words).replace(" ", "-")[:100]
    numbered = (stem if number == 1 else f"{stem}-{number}" for number in itertools.count(1))
    return next(name for name in numbered if name not in taken)
