"""``ffcore sample``: new images from the generator of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ffcore.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from ffcore_pff.circuit import Predictive
    from ffcore_pff.mixture import Mixture


@click.command(name="sample")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--n", "count", type=click.IntRange(min=1), default=64, show_default=True, help="how many samples"
)
@click.option("--label", help="class, by number or name  [default: all, as in training]")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="seed of the random numbers"
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="directory to write to  [default: RUN_DIR/samples]"
)
@click.option("--no-picture", is_flag=True, help="write only the .npy file, for samples that are not images")
def command(
    run_dir: Path, count: int, label: str | None, seed: int, out: Path | None, no_picture: bool
) -> None:
    """Sample images from the generator of the run in RUN_DIR, and write them as .png and .npy.

    The array is (n, C, H, W) in [0, 1]. The mixture of top latents was fitted when the run ended. Existing
    files are not overwritten.
    """
    import ffcore
    from ffcore_pff.pictures import is_image

    predictor = ffcore.load(run_dir)
    circuit, mixture = _generator(run_dir, predictor)
    asked = _class(label, predictor.classes) if label is not None else None
    if asked is not None and not mixture.by_class:
        raise UserError(
            f"--label {label}: the mixture of this run is one for all classes; leave it out, or train with "
            "algorithm.mixture=class"
        )
    if not no_picture and not is_image(predictor.form.shape):
        raise UserError(
            f"{run_dir}: samples of shape {predictor.form.shape} are not images; use --no-picture"
        )
    which = "all" if asked is None else re.sub(r"[^\w-]", "_", predictor.classes[asked])
    name = f"samples-{which}-seed{seed}-n{count}"
    folder = out if out is not None else run_dir / "samples"
    targets = [folder / f"{name}.npy", *([] if no_picture else [folder / f"{name}.png"])]
    for target in targets:
        if target.exists():
            raise UserError(f"{target} exists already; choose another --seed or --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(draw(circuit, mixture, count, asked, seed), targets)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be written to: {error.strerror or error}") from error
    for target in targets:
        click.echo(str(target))


def draw(circuit: Predictive, mixture: Mixture, count: int, asked: int | None, seed: int = 0) -> Tensor:
    """Return samples (count, *in_shape) of the class ``asked``, or of all; equal for equal seeds."""
    import numpy as np

    random = np.random.default_rng(seed)
    classes = [asked] * count if asked is not None else mixture.draw(count, random)
    like = next(circuit.parameters())
    return circuit.decoded(mixture.sample(classes, random).to(like)).cpu()


def _generator(run_dir: Path, predictor: Any) -> tuple[Predictive, Mixture]:
    from ffcore.report import RunRecord
    from ffcore_pff.circuit import Predictive
    from ffcore_pff.mixture import Mixture

    circuits = [each for each in predictor.module.network.circuits if isinstance(each, Predictive)]
    if not circuits or predictor.recipe.algorithm.kind != "predictive-forward-forward":
        raise UserError(
            f"{run_dir}: this run has no generator: its algorithm should be predictive-forward-forward, but "
            f"is {predictor.recipe.algorithm.kind}"
        )
    mixture = Mixture.read(RunRecord.read(run_dir).arrays)
    if mixture is None:
        raise UserError(
            f"{run_dir}: arrays.npz has no mixture of latents; was the run made by an older version?"
        )
    return circuits[0], mixture


def _class(label: str, classes: tuple[str, ...]) -> int:
    if label in classes:
        return classes.index(label)
    numbered = not any(name.isdecimal() for name in classes)  # otherwise a number would be ambiguous
    if numbered and label.isdecimal() and int(label) < len(classes):
        return int(label)
    known = ", ".join(classes[:12]) + (", …" if len(classes) > 12 else "")
    raise UserError(f"--label {label}: the classes are {known}")


def _write(made: Tensor, targets: list[Path]) -> None:
    """Write each file atomically."""
    import numpy as np

    from ffcore.files import write_whole
    from ffcore_pff.pictures import grid, save

    images = made.float().numpy()

    def numbers(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, images, allow_pickle=False)

    write_whole(targets[0], numbers)
    for target in targets[1:]:
        write_whole(target, lambda path: save(path, grid(images, columns=int(np.ceil(len(images) ** 0.5)))))
