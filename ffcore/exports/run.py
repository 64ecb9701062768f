"""Exports of finished runs: the network with the run's weights, and what the run trained it with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ffcore.build.assemble import assembled_for
from ffcore.build.from_recipe import net_of
from ffcore.build.names import of_existing_run
from ffcore.errors import UserError
from ffcore.exports.training import Training
from ffcore.network import Network
from ffcore.run.predictor import Predictor


def of_run(run_dir: Path, initial: bool = False, **changes: Any) -> tuple[Network, Training]:
    """Return the network of a run with its optimisers, and how the run trained it.

    The optimisers have made no step. Augmentations are left out.

    Args:
        run_dir: the run directory.
        initial: whether to return the weights with which the run began.
        changes: fields of `Training` in place of those of the run.

    Raises:
        UserError: when it is not the directory of a run, or its samples are changed by a Python function.
    """
    predictor = Predictor(run_dir)
    recipe = predictor.recipe
    if recipe.data.transform is not None:
        raise UserError(f"export: {run_dir}: data.transform is a Python function, which cannot be exported")
    if not predictor.form.plain:
        raise UserError(f"export: {run_dir}: samples of several inputs, or tokens, cannot be exported")
    module = predictor.module
    if initial:
        with of_existing_run():
            module = assembled_for(recipe, predictor.form)
    training = Training(
        epochs=recipe.trainer.max_epochs,
        batch_size=recipe.data.batch_size,
        rate=module.lr_factor,
        stored={"scale": predictor.scale, "mean": list(predictor.mean), "std": list(predictor.std)},
        classes=predictor.classes,
        name=recipe.name,
    )
    return net_of(module), dataclasses.replace(training, **changes)
