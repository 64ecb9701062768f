"""``ffcore new``: writes the first version of a plugin, a recipe or an example."""

from __future__ import annotations

from pathlib import Path

import click

from ffcore.cli.folder import Folder
from ffcore.scaffold import KINDS, new_example, new_plugin, new_recipe


@click.group(name="new")
def command() -> None:
    """Write the first version of a plugin, a recipe or an example."""


@command.command()
@click.argument("name")
@click.option(
    "--noun", type=click.Choice(KINDS), required=True, metavar="NOUN", help=f"One of {', '.join(KINDS)}."
)
@click.option(
    "--into", type=Folder(), default=".", help="Folder for the package's folder.", show_default=True
)
@click.option("--author", default="", help="Name for the licence.")
def plugin(name: str, noun: str, into: Path, author: str) -> None:
    """Write a package NAME with one component, a recipe, tests and CI."""
    folder = new_plugin(name, noun, into, author)
    module = name.replace("-", "_")
    click.echo(f"wrote {folder}")
    click.echo(f"  the component   {folder}/src/{module}/{noun}.py")
    click.echo(f"next:  pip install -e '{folder}[dev]'  and  ffcore check {name}")


@command.command()
@click.argument("path", type=Folder())
def recipe(path: Path) -> None:
    """Write a recipe with comments to the new file PATH."""
    click.echo(f"wrote {new_recipe(path)}")
    click.echo(f"next:  ffcore validate --build {path}  and  ffcore run {path}")


@command.command()
@click.argument("path", type=Folder())
def example(path: Path) -> None:
    """Write a program with a model and a loop of your own to the new file PATH."""
    click.echo(f"wrote {new_example(path)}")
    click.echo(f"next:  python {path}")
