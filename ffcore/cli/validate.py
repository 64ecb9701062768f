"""``ffcore validate``: checks recipes."""

from __future__ import annotations

import click

from ffcore.cli.building import describe
from ffcore.errors import UserError
from ffcore.recipe.load import load


@click.command()
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE…")
@click.option("--build", is_flag=True, help="Also build each network (imports torch).")
@click.pass_context
def command(ctx: click.Context, recipes: tuple[str, ...], build: bool) -> None:
    """Check recipes. Prints all errors of all recipes; the exit code is 2 if there are any."""
    failed = False
    for name in recipes:
        try:
            recipe = load(name)
            if build:
                describe(recipe)
        except UserError as error:  # go through all recipes, and report each
            failed = True
            click.echo(f"error: {error}", err=True)
        else:
            click.echo(f"ok  {name}")
    if failed:
        ctx.exit(2)
