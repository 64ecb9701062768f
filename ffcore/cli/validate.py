"""``ffcore validate``: are these recipes right?"""

from __future__ import annotations

import click

from ffcore.cli.building import describe
from ffcore.errors import UserError
from ffcore.recipe.load import load


@click.command()
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE…")
@click.option("--build", is_flag=True, help="Build each of them too (imports torch).")
@click.pass_context
def command(ctx: click.Context, recipes: tuple[str, ...], build: bool) -> None:
    """Check recipes: all errors of all of them, and exit code 2 if there are any."""
    wrong = False
    for name in recipes:
        try:
            recipe = load(name)
            if build:
                describe(recipe)
        except UserError as error:
            wrong = True
            click.echo(f"error: {error}", err=True)
        else:
            click.echo(f"ok  {name}")
    if wrong:
        ctx.exit(2)
