"""``ffcore validate``: checks recipes."""

from __future__ import annotations

import os

import click

from ffcore.cli.building import describe
from ffcore.errors import UserError
from ffcore.recipe.load import load


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="RECIPE… [PATH=VALUE]…")
@click.option("--build", is_flag=True, help="Also build each network (imports torch).")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...], build: bool) -> None:
    """Check recipes, with overrides such as `optimizer.lr=1e-3`.

    Prints all errors of all recipes; the exit code is 2 if there are any.
    """
    failed = False
    overrides = [word for word in words if "=" in word and not os.path.isfile(word)]
    for name in words:
        if name in overrides:
            continue
        try:
            recipe = load(name, overrides)
            if build:
                describe(recipe)
        except UserError as error:  # go through all recipes, and report each
            failed = True
            click.echo(f"error: {error}", err=True)
        else:
            click.echo(f"ok  {name}")
    if failed:
        ctx.exit(2)
