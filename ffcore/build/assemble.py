"""From a validated recipe, and the shape of its data, to the module that Lightning trains."""

from __future__ import annotations

import torch

from ffcore.build.components import make
from ffcore.build.network import NetworkBuilder
from ffcore.build.optimizers import Optimizers
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError
from ffcore.interfaces import Algorithm, Clock, LayerContribution, Schedule
from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import Kind


def assemble(recipe: Recipe, shape: tuple[int, ...], classes: int) -> ForwardOnly:
    """Build everything that a recipe names; weights depend on its seed alone.

    Args:
        recipe: the validated recipe.
        shape: shape of one sample.
        classes: number of classes K.

    Raises:
        UserError: with the path in the recipe, when parts do not fit together or the data.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        algorithm: Algorithm = make(recipe.algorithm, "algorithm")
        try:
            in_shape = algorithm.prepare(shape, classes, tuple(recipe.readouts))
        except ValueError as error:
            raise UserError(f"algorithm: {error}") from error
        builder = NetworkBuilder(recipe, algorithm, in_shape, classes)
        network = builder.build()
    if not any(p.requires_grad for block in network.blocks for p in block.parameters()):
        raise UserError("network: no block has a parameter that could learn; add one, such as kind: dense")
    schedule_spec = recipe.schedule or Kind("schedule").validate(algorithm.schedule)
    schedule: Schedule = make(schedule_spec, "schedule")
    contribution: LayerContribution = make(recipe.contribution, "contribution")
    epochs = recipe.trainer.max_epochs
    try:
        network.plan(schedule.windows(Clock(0, 0, epochs), len(network.blocks)))
    except ValueError as error:
        raise UserError(f"schedule: {error}") from error
    try:
        contribution.attend(network.sources)
    except ValueError as error:
        raise UserError(f"contribution: {error}") from error
    return ForwardOnly(
        network,
        algorithm,
        contribution,
        schedule,
        Optimizers(recipe.optimizer, builder.optimizers),
        lr_factor=recipe.lr_schedule.factor,
        seed=recipe.seed,
        epochs=epochs,
        clip=recipe.trainer.clip,
        accumulate=recipe.trainer.accumulate,
    )
