"""``ffcore schema``: prints the JSON schema of recipes."""

from __future__ import annotations

import json

import click

from ffcore.recipe.schema_cache import cached_schema


@click.command()
def command() -> None:
    """Print the JSON schema of recipes, with all installed components, for completion in an editor."""
    click.echo(json.dumps(cached_schema(), indent=2, ensure_ascii=False))
