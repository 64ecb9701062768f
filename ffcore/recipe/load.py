"""Finds, reads and validates recipes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ffcore.errors import closest, expect, reason, shortened
from ffcore.options import expanded
from ffcore.plugin import manager
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.objects import records
from ffcore.recipe.overrides import apply, apply_values, give_again, refuse_lost
from ffcore.recipe.schema import Recipe
from ffcore.recipe.text import emit, parse
from ffcore.recipe.text import read as read_text
from ffcore.recipe.tree import Tree, before, dotted, merge

_ANOTHER = re.compile(r"\s*(algorithm|network|block|start|data\.(kind|dataset))\b")
"""Overrides that change the experiment: the paper's result does not apply to it."""

_OWN = ("name", "title", "paper", "description")
"""Keys that a recipe does not inherit from its base."""

SUFFIXES = (".yaml", ".yml")

MOST_BASES = 20
"""Maximum length of a chain of bases."""


def root() -> Path:
    """Returns the directory of the packaged recipes: inside the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def names() -> list[str]:
    """Returns the names of the recipes that are packaged or registered by a plugin."""
    return sorted(_known())


def find(name_or_path: str) -> Path:
    """Returns the file of a recipe.

    Args:
        name_or_path: a path that ends in ``.yaml``, or a name such as ``mnist/ff``.

    Raises:
        RecipeError: the recipe does not exist.
    """
    if name_or_path.endswith(SUFFIXES):
        path = expanded(name_or_path)
        if not os.path.isfile(path):  # unlike Path.is_file, False for an impossible name
            given = shortened(name_or_path, 200)
            exists = "\0" not in path and os.path.lexists(path)
            raise RecipeError(f"{given} is not a file" if exists else f"there is no recipe file {given}")
        return Path(path)
    if re.fullmatch(r"[\w/.-]+", name_or_path):
        packaged = root() / f"{name_or_path}.yaml"
        inside = Path(os.path.abspath(packaged)).is_relative_to(os.path.abspath(root()))
        if (
            inside
            and os.path.isfile(packaged)
            and name_or_path not in manager.current().registry.names("recipe")
        ):
            return packaged  # without a list of all recipes, which takes longer than reading one
    known = _known()
    if name_or_path not in known:
        given, hint = shortened(name_or_path, 200), closest(name_or_path[:200], known, "ffcore ls")
        broken = "".join(
            f"; plugin {name} is broken: {why}" for name, why in manager.current().broken.items()
        )
        raise RecipeError(f"there is no recipe {given}{hint}; a path should end in .yaml{broken}")
    paths = known[name_or_path]
    if len(paths) > 1:
        raise RecipeError(f"there are two recipes {name_or_path!r}: {' and '.join(map(str, paths))}")
    return paths[0]


def read(path: Path) -> Tree:
    """Parse a file and merge it into its ``base``, if it has one. Does not validate it.

    Raises:
        RecipeError: a file is missing or cannot be parsed, or is its own base.
    """
    return _read(path, ())


def load(
    name_or_path: str,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    objects: Mapping[str, Any] | None = None,
) -> Recipe:
    """Find, read, override and validate a recipe.

    Args:
        name_or_path: as for `find`.
        overrides: strings ``path=value``, such as ``network.0.units=100``, applied in order; or a mapping of
            values, nested or by path.
        objects: Python objects that a run's ``config.yaml`` only describes, by path; set before overrides.

    Raises:
        RecipeError: the recipe is not valid; the message has the file and line, or the override, of each
            problem.
    """
    tree = read(find(name_or_path))
    give_again(tree, objects or {})
    if isinstance(overrides, Mapping):
        paths = apply_values(tree, overrides)
    else:
        paths = list(overrides)
        refuse_lost([override.partition("=")[0].strip() for override in overrides])
        for override in overrides:
            apply(tree, override)
    try:
        # A changed experiment must not be compared with the paper's result.
        if any(_ANOTHER.match(path) for path in paths):
            if any(path.startswith("paper") for path in paths):
                Recipe.model_validate(tree.data)  # a value that is left out should be valid too
            tree.data.pop("paper", None)
        _refuse_records(tree)
        return Recipe.model_validate(tree.data).located(tree)
    except ValidationError as error:
        raise RecipeError.from_validation(error, tree) from None


def loaded(recipe: str | os.PathLike[str] | Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """Load the recipe of a name or path with overrides; a `Recipe` is returned unchanged.

    Raises:
        ValueError: overrides are given for a `Recipe`.
    """
    if not isinstance(recipe, Recipe):
        expect("recipe", recipe, (str, os.PathLike), "a recipe's name, the path of a YAML file, or a Recipe")
        try:
            return load(os.fspath(recipe), overrides)
        except RecursionError:
            raise RecipeError("overrides: a value contains itself, or is nested too deeply") from None
    if overrides:
        raise ValueError("overrides need the name or path of a recipe; a Recipe object cannot be changed")
    return recipe


def dump(recipe: Recipe) -> str:
    """Returns the complete recipe as YAML, with all defaults. It loads as an equal recipe."""
    return emit(recipe.model_dump(mode="json"))


def label(path: Path) -> str:
    """Returns the name of a recipe file in messages: short for files below the working directory."""
    absolute = path.resolve()
    for folder in (root().resolve(), Path.cwd()):
        if absolute.is_relative_to(folder):
            return absolute.relative_to(folder).as_posix()
    return os.fspath(path)


def _refuse_records(tree: Tree) -> None:
    """Raise if the tree only describes a Python object."""
    missing = list(records(tree.data))
    if missing:
        path, described = missing[0]
        again = ", ".join(f"{dotted(one)!r}: …" for one, _ in missing)
        raise RecipeError(
            f"{before(tree.origin(path))}{dotted(path)}: {described} was given from Python and is not in the "
            f"file; pass it again from Python, as in ffcore.load(…, **{{{again}}}), or net=… for a run of "
            "ffcore.fit"
        )


def _known() -> dict[str, list[Path]]:
    folder = root()
    known: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        known[path.relative_to(folder).with_suffix("").as_posix()] = [path]
    for entry in manager.current().registry.entries("recipe"):
        known.setdefault(entry.name, []).append(Path(entry.target))
    return known


def _read(path: Path, above: tuple[Path, ...]) -> Tree:
    here = path.resolve()  # two paths of one file, through a link, are the same
    if here in above:
        chain = " → ".join(label(one) for one in (*above, here))
        raise RecipeError(f"{label(path)}  base: a recipe is its own base: {chain}")
    if len(above) > MOST_BASES:
        raise RecipeError(f"{label(path)}  base: a chain of more than {MOST_BASES} bases")
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise RecipeError(f"{label(path)}  cannot be read: {reason(error)}") from error
    tree = parse(text, label(path))
    if "base" not in tree.data:
        return tree
    base = tree.data.pop("base")
    where = tree.origins.pop(("base",))
    if not isinstance(base, str):
        raise RecipeError(f"{where}  base: {shortened(base)} should be the name or the path of a recipe")
    if base.endswith(SUFFIXES):  # a path is relative to the file that has it
        base = os.fspath(path.parent / expanded(base))
    try:
        file = find(base)
    except RecipeError as error:
        raise RecipeError(f"{where}  base: {error}") from error
    below = _read(file, (*above, here))
    for key in _OWN:  # they describe the experiment of the base
        below.data.pop(key, None)
    if "name" not in tree.data:
        tree.put(("name",), path.stem, {("name",): where})
    return merge(below, tree)
