"""``ffcore cp``: copies a recipe to a file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from ffcore.cli.folder import Folder
from ffcore.errors import UserError
from ffcore.files import write_new
from ffcore.recipe.load import SUFFIXES, dump, find, label, load
from ffcore.recipe.text import emit, parse, read


@click.command()
@click.argument("recipe")
@click.argument("dest", type=Folder())
@click.argument("overrides", nargs=-1)
def command(recipe: str, dest: Path, overrides: tuple[str, ...]) -> None:
    """Copy a recipe to the new file DEST.

    The copy is named after the file. Comments are kept, unless there are overrides or a base: then the copy
    is the complete recipe, without comments.
    """
    if dest.suffix not in SUFFIXES:
        raise UserError(f"{str(dest)!r} should end in .yaml")
    if not os.path.isdir(dest.parent):  # unlike Path.is_dir, False for an impossible name
        raise UserError(f"there is no directory {str(dest.parent)!r}")
    resolved = dump(load(recipe, overrides))
    source = find(recipe)
    text = read(source)
    if overrides or "base" in parse(text, label(source)).data:
        text = resolved
    name = emit({"name": dest.stem}).strip()
    # Replace the line in the text, not in parsed data: that would lose the comments.
    text = re.sub(r"^name:.*$", lambda _: name, text, count=1, flags=re.MULTILINE)
    write_new(dest, text)
    click.echo(f"wrote {dest}")
