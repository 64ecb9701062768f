"""The recipe in a run directory. If it needs a plugin that is not loaded, the message names the plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ffcore import files
from ffcore.errors import UserError, first_line
from ffcore.plugin import manager
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
        raise explained(error, run_dir, *_made_with(run_dir)) from None


def explained(
    error: UserError, folder: Path, command: str | None, plugins: Mapping[str, str] | None = None
) -> UserError:
    """Returns the error of a recipe; if plugins are not loaded, an error that names them first.

    Args:
        error: the error without them.
        folder: the directory of the run, or of the sweep.
        command: the command line that has made it.
        plugins: the version of each plugin that it has used, by name, as `environment.plugins` has it.
    """
    loaded = {info.name for info in manager.current().infos if info.status == "ok"}
    used = {Path(file).stem: file for file in manager.files_in(command or "")}
    for name, version in (plugins or {}).items():
        used.setdefault(name, f"{name}.py" if version.startswith("sha256:") else name)
    missing = [file for name, file in used.items() if name not in loaded]
    if not missing:
        return error
    is_file = missing[0].endswith(".py")
    load_it = f"give `ffcore --plugin {missing[0]} …`" if is_file else "install it"
    in_python = f"ffcore.add_plugin({missing[0]!r})" if is_file else "ffcore.add_plugin"
    return UserError(
        f"{folder}: it used the plugin {'file ' * is_file}{missing[0]}, which is not loaded; {load_it}, "
        f"or in Python call {in_python} ({first_line(error)})"
    )


def _made_with(run_dir: Path) -> tuple[str | None, dict[str, str]]:
    """Returns the command line of a run, and the version of each plugin; nothing without a checkpoint."""
    # imported only for this message: the import of torch takes seconds
    from ffcore.report.results import read_results
    from ffcore.run import checkpoints

    with suppress(UserError):
        results = read_results(run_dir)
        versions: Mapping[str, str] = results.get("versions") or {}
        start = "plugin "
        plugins = {name.removeprefix(start): one for name, one in versions.items() if name.startswith(start)}
        return results.get("command"), plugins
    with suppress(UserError):
        state = checkpoints.newest(run_dir / files.CHECKPOINTS)[1]
        if state is not None:
            return state["ffcore"].get("command"), state["ffcore"].get("plugins", {})
    return None, {}


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
