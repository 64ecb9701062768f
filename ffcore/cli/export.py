"""``ffcore export``: a run as graphs for inference engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ffcore.cli.folder import Folder


@click.command(name="export")
@click.argument("run_dir", type=Folder())
@click.argument("what", type=click.Choice(["predict", "learn"]))
@click.option(
    "--out", type=click.Path(path_type=Path), help="the bundle's directory  [default: RUN_DIR/WHAT-TO]"
)
@click.option("--to", type=click.Choice(["onnx", "torch", "c"]), default="onnx", show_default=True)
@click.option("--rows", type=click.IntRange(min=1), help="fixed number of samples of a batch  [default: any]")
@click.option("--per-block", is_flag=True, help="write a graph for each block that learns")
@click.option("--activities", is_flag=True, help="predict the activity of every block, and no scores")
@click.option("--int8", is_flag=True, help="multiply in eight bits in forward passes")
@click.option(
    "--opset-profile",
    "profile",
    type=click.Choice(["minimal"]),
    help="keep to the operators of simple engines",
)
@click.option("--initial", is_flag=True, help="export the weights with which the run began")
@click.option("--epochs", type=click.IntRange(min=1), help="epochs to learn  [default: those of the run]")
@click.option("--overwrite", is_flag=True, help="replace a bundle that exists")
def command(run_dir: Path, what: Any, out: Path | None, to: Any, epochs: int | None, **options: Any) -> None:
    """Export the run in RUN_DIR, to predict or to learn without torch.

    A bundle for ffcore.edge is a directory of ONNX graphs and their weights: predict maps samples to scores;
    learn adds graphs of a learning step, (samples, labels, state, random numbers) to (new state, losses).
    With --to c it is a header and a C file.
    """
    from ffcore.exports import export
    from ffcore.exports.run import of_run

    changes = {} if epochs is None else {"epochs": epochs}
    net, training = of_run(run_dir, options.pop("initial"), **changes)
    target = out if out is not None else run_dir / f"{what}-{to}"
    if to == "c":
        _write_c(net, target, what == "learn", training.stored, options)
        return
    folder = export(net, target, what, to=to, training=training, **options)
    about = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    click.echo(f"{folder}")
    for name, file in about["files"].items():
        used = about["operators"].get(name)
        listed = "" if used is None else f"  {sum(used.values())} operations of {len(used)} operators"
        click.echo(f"  {name:24} {file['bytes']:>12,} bytes{listed}")


def _write_c(net: Any, target: Path, learn: bool, stored: Any, options: dict[str, Any]) -> None:
    from ffcore.errors import UserError
    from ffcore.exports.c99 import write_c

    for name in ("rows", "per_block", "activities", "profile"):
        if options[name]:
            raise UserError(f"--{name.replace('_', '-')} does not apply to --to c")
    weights: Any = "int8" if options["int8"] else "float32"
    given = {"learn": learn, "weights": weights, "stored": stored, "overwrite": options["overwrite"]}
    for path in write_c(net, target, **given):
        click.echo(str(path))
