"""Several seeds and small grids: which runs a command line asks for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from ffcore.errors import UserError
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.load import dump, load
from ffcore.recipe.schema import Recipe
from ffcore.recipe.text import parse_value
from ffcore.run.places import absolute

_QUOTED_OR_ONE = re.compile(r"""(?<!\w)"(?:\\.|[^"\\])*"|(?<!\w)'[^']*'|.""", re.DOTALL)


@dataclass
class Member:
    """One of the runs.

    Attributes:
        name: of its folder in the sweep's, and of its log beside that.
        point: the overrides that the grid has chosen; the seed is not among them.
        overrides: all of them.
        recipe: what it runs, everything resolved; known when it has been checked.
        seed: of its recipe.
        status: its process's exit status; None before it has ended.
        error: the last line that it said, if it failed.
    """

    name: str
    point: tuple[str, ...]
    overrides: tuple[str, ...]
    seed: int | None = None
    status: int | None = None
    error: str | None = None
    recipe: str | None = field(default=None, compare=False, repr=False)


def plan(name: str, overrides: Sequence[str], seeds: Sequence[int] = ()) -> list[Member]:
    """The members that overrides with several values, and several seeds, make; none without either.

    Args:
        name: of the recipe, or its path.
        overrides: as for `ffcore.recipe.load.load`. One whose value is not valid as it stands, and has commas
            outside of brackets and quotes, is one value after the other.
        seeds: a member each.

    Raises:
        UserError: a value comes twice or is empty, or a path is set by another override too.
    """
    axes = _grid(name, overrides)
    if seeds:
        axes[len(overrides)] = [f"seed={seed}" for seed in seeds]
        overrides = (*overrides, "seed=")
    paths = [_path(override) for override in overrides]
    for index, values in axes.items():
        _refuse_twice(values)
        if paths.count(paths[index]) > 1:
            raise UserError(f"{paths[index]}: there are several values for it, and it is set a second time")
    order = sorted(axes, key=lambda index: paths[index] == "seed")
    members: list[Member] = []
    for chosen in itertools.product(*(axes[index] for index in order)) if axes else ():
        choice = dict(zip(order, chosen, strict=True))
        point = tuple(one for one in chosen if _path(one) != "seed")
        whole = tuple(choice.get(index, override) for index, override in enumerate(overrides))
        members.append(Member(_name(chosen, {member.name for member in members}), point, whole))
    return members


def check(name: str, members: Sequence[Member], build: Callable[[Recipe], object]) -> str:
    """Find out whether all members can work, before one of them is started.

    Args:
        name: of the recipe, or its path.
        members: are told their seeds and recipes.
        build: finds out whether a recipe can work; called once for all seeds.

    Returns:
        The name that the recipe calls itself.

    Raises:
        UserError: one cannot work; it says with which values.
    """
    problems: dict[tuple[str, ...], UserError | None] = {}
    for member in members:
        try:
            recipe = load(name, member.overrides)
            if member.point not in problems:
                build(recipe)
                problems[member.point] = None
            recipe = absolute(recipe)
            own, member.seed, member.recipe = recipe.name, recipe.seed, dump(recipe)
        except UserError as problem:
            problems[member.point] = problem
    _refuse(problems)
    return own


def _refuse(problems: Mapping[tuple[str, ...], UserError | None]) -> None:
    """Raise the first problem, with the values that have it wherever they are in the grid."""
    failed = {point: problem for point, problem in problems.items() if problem is not None}
    for point, problem in failed.items():
        if len(failed) == len(problems) and len({str(one) for one in failed.values()}) == 1:
            raise problem  # nothing of the grid is to blame
        blamed = [one for one in point if all(other in failed for other in problems if one in other)] or point
        if any(one in str(problem) for one in blamed):
            raise problem
        raise UserError(f"with {' '.join(blamed)}: {problem}") from problem


def _path(override: str) -> str:
    return override.partition("=")[0].strip()


def _grid(name: str, overrides: Sequence[str]) -> dict[int, list[str]]:
    """Overrides that are several, by the index of the one that is written."""
    several = {}
    for index, override in enumerate(overrides):
        path, _, text = override.partition("=")
        if len(values := split(text)) > 1:
            several[index] = [f"{path.strip()}={value.strip()}" for value in values]
    firsts = [several[i][0] if i in several else override for i, override in enumerate(overrides)]
    return {index: values for index, values in several.items() if not _loads(name, overrides, firsts, index)}


def _loads(name: str, overrides: Sequence[str], firsts: Sequence[str], index: int) -> bool:
    """Whether an override is valid as it stands, among others that may be several."""
    here = overrides[index]
    after = [one for one in firsts[index + 1 :] if _path(one) != _path(here)]  # such a one would hide it
    try:
        load(name, [*firsts[:index], here, *after])
    except RecipeError:
        return False
    return True


def split(text: str) -> list[str]:
    """Split at the commas that are outside of brackets and quotes.

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


def _refuse_twice(values: Sequence[str]) -> None:
    seen: set[str] = set()
    for override in values:
        path, _, text = override.partition("=")
        if not text:
            raise UserError(f"{path}: one of its several values is empty; write null if that is meant")
        if (value := _plain(text)) in seen:
            raise UserError(f"{path}: {text} comes twice among its several values")
        seen.add(value)


def _plain(text: str) -> str:
    """A value in one spelling: ``1e-3`` is 0.001."""
    try:
        value = parse_value(text)
    except (yaml.YAMLError, ValueError):
        return text  # the loader says what is wrong with it
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value).replace("e+", "e") if number else text


def _name(chosen: Sequence[str], taken: Iterable[str]) -> str:
    """A folder's name such as ``optimizer.lr-0.001+seed-2``."""
    safe = (re.sub(r"[^\w.-]+", " ", _plain(one.partition("=")[2])).strip() for one in chosen)
    words = (f"{_path(one)}-{value}" for one, value in zip(chosen, safe, strict=True))
    stem = "+".join(words).replace(" ", "-")[:100]
    numbered = (stem if number == 1 else f"{stem}-{number}" for number in itertools.count(1))
    return next(name for name in numbered if name not in taken)
