"""``ffcore run``: train a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command(name="run")
@click.argument("recipe")
@click.argument("overrides", nargs=-1)
@click.option("--run-dir", type=click.Path(path_type=Path), help="an empty or new folder for the results")
@click.pass_obj
def command(obj: dict[str, Any], recipe: str, overrides: tuple[str, ...], run_dir: Path | None) -> None:
    """Train RECIPE, with OVERRIDES such as trainer.max_epochs=2, and write a run folder."""
    from ffcore.recipe.load import load
    from ffcore.run import directory

    loaded = load(recipe, overrides)  # before torch is imported: a typing error answers at once
    directory.check(run_dir)

    from rich.console import Console

    from ffcore.report.table import results_table
    from ffcore.run.train import train

    console = Console()
    run = train(loaded, run_dir, console=console, command=obj["command"])
    console.print(results_table(run.results))
    console.print(f"report    {run.path / 'report.md'}", highlight=False, soft_wrap=True)
    console.print(f"picture   {run.path / 'overview.png'}", highlight=False, soft_wrap=True)
