"""``ffcore predict``: predictions of a run for the samples of a file."""

from __future__ import annotations

from pathlib import Path

import click

from ffcore.cli import options
from ffcore.cli.folder import Folder


@click.command(name="predict")
@click.argument("run_dir", type=Folder())
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="file to write, .csv or .npy  [default: print CSV]"
)
@options.device("cpu")
def command(run_dir: Path, file: Path, out: Path | None, device: str | None) -> None:
    """Predict the samples in FILE with the run in RUN_DIR.

    For a run on a table FILE is a table with the same columns of inputs, in any order; targets are not
    needed. For a run on texts of Hugging Face it is a table with their column, or a .txt file with a text
    in each line. For other runs it is an array of samples, as they are stored: .npy, or x in .npz;
    several inputs are x0, x1, … or have their names. The output has a line for each sample. A
    file that exists is not overwritten.
    """
    from ffcore.run.predictions import predictions, refuse_file, write

    if out is not None:
        refuse_file(out)
    made = predictions(run_dir, file, device or "cpu")
    if out is not None:
        write(made, out)
        click.echo(str(out))
        return
    click.echo(made.csv(), nl=False)
