"""``ffcore eval``: measure a finished run again."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="eval")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1)
@click.option("--split", type=click.Choice(["test", "val", "train"]), default="test", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def command(run_dir: Path, overrides: tuple[str, ...], split: str, as_json: bool) -> None:
    """Measure the run in RUN_DIR on its data, or on other files named by OVERRIDES such as data.root=DIR."""
    from ffcore.run.evaluate import evaluate

    figures = evaluate(run_dir, split, overrides)
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    click.echo(f"{run_dir}, {split} split, {figures['samples']} samples")
    click.echo(f"  accuracy {100 * figures['accuracy']:.2f} %   error {figures['error']:.2f} %")
    for name, accuracy in figures["per_block_accuracy"].items():
        click.echo(f"  {name:12} {100 * accuracy:.2f} %")
