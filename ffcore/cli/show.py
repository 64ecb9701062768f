"""``ffcore show``: prints a complete recipe."""

from __future__ import annotations

import click

from ffcore.cli.building import described
from ffcore.cli.console import console
from ffcore.recipe.load import dump, load


@click.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1)
@click.option(
    "--build",
    is_flag=True,
    help="Build the network; print shapes, and its costs on a device (imports torch).",
)
def command(recipe: str, overrides: tuple[str, ...], build: bool) -> None:
    """Print a complete recipe, with base, defaults and OVERRIDES such as trainer.max_epochs=2."""
    loaded = load(recipe, overrides)
    for line in (loaded.title, loaded.reference):
        if line:
            click.echo(f"# {' '.join(line.split())}")
    click.echo(dump(loaded), nl=False)
    if build:
        from ffcore.cli.cost_tables import printed  # imports NumPy

        table, sheet = described(loaded)
        for part in (table, *printed(sheet)):
            console().print(part)
