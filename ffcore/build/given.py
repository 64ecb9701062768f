"""Builds the LightningModule of a network that was made in Python; the other parts are from a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ffcore.build.components import make
from ffcore.build.form import Form
from ffcore.build.optimizers import check_optimizer, lr_factor, makers
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError
from ffcore.interfaces import Augmentation, Context, Statistics
from ffcore.interfaces.structure import tensors
from ffcore.local.optimizers import Make
from ffcore.network import Network
from ffcore.recipe.schema import Recipe


def objects_of(net: Network) -> dict[str, Any]:
    """Return the network's parts under the keys of a recipe, which then records them."""
    return {
        "algorithm": net.algorithm,
        "network": [net.local.body],
        "contribution": net.contribution,
        "schedule": net.schedule,
        "readouts": {name: block.body for name, block in net.local.readout_blocks.items()},
    }


def augmentations_of(recipe: Recipe, context: Context) -> list[Augmentation]:
    """Return a recipe's augmentations. They are set up if the statistics of the samples are known."""
    made = [make(spec, f"data.augment.{i}") for i, spec in enumerate(recipe.data.augment)]
    if context.statistics is not None:
        for i, augmentation in enumerate(made):
            try:
                augmentation.setup(context)
            except ValueError as error:
                raise UserError(f"data.augment.{i}: {error}") from error
    return made


def module_of(
    net: Network,
    recipe: Recipe,
    optimizers: Mapping[str, Make],
    augmentations: list[Augmentation],
    factor: Callable[[float, int], float],
) -> ForwardOnly:
    """Return the module of a run: a network with the settings of the recipe's trainer.

    Args:
        net: the network; it is not copied.
        recipe: the recipe; only its trainer is used.
        optimizers: makers of optimisers; see `makers`.
        augmentations: the augmentations, set up if the statistics are known.
        factor: factor on the learning rate; see `lr_factor`.

    Raises:
        UserError: when ``trainer.clip_value`` names a block that does not exist.
    """
    clip_value = recipe.trainer.clip_value
    for name in clip_value if isinstance(clip_value, Mapping) else ():
        if name != "*" and name not in net.local.learners:
            known = ", ".join(net.local.learners)
            raise UserError(f"trainer.clip_value: there is no block {name!r}; there are {known}")
    module = ForwardOnly(
        net,
        optimizers,
        augmentations=augmentations,
        lr_factor=factor,
        epochs=recipe.trainer.max_epochs,
        clip=recipe.trainer.clip,
        clip_value=clip_value,
        accumulate=recipe.trainer.accumulate,
    )
    module.logs = False  # the loggers of a run get the rows of metrics.csv instead
    return module


def refuse_misfit(net: Network, form: Form) -> None:
    """Raise if a network was built for other data.

    Raises:
        UserError: with both shapes and numbers of classes; or when ``net`` is not an `ffcore.Network`.
    """
    shape, classes = form.shape, form.task.columns
    if not isinstance(net, Network):
        raise UserError(f"net: a {type(net).__name__} is not an ffcore.Network")
    if type(net.task) is not type(form.task):
        own, given = type(net.task).__name__, type(form.task).__name__
        raise UserError(f"data: the task of the data is {given}; the network was built for {own}")
    if net.floats and not all(t.is_floating_point() for t in tensors(form.example())):
        raise UserError(f"data: samples are {form.dtype}; the network was built for floats: x.float()")
    if net.shape != shape or net.classes != classes:
        raise UserError(
            f"data: {classes} classes of samples {shape}; the network was built for {net.classes} of "
            f"{net.shape}"
        )


def around(
    net: Network,
    recipe: Recipe,
    form: Form,
    statistics: Statistics | None = None,
) -> ForwardOnly:
    """Return the module that trains a network with a recipe's trainer, optimiser and augmentations.

    Args:
        net: the network; it is not copied.
        recipe: trainer, optimiser and augmentations.
        form: shape and type of the samples of the data, and the task.
        statistics: statistics of the training samples, for augmentations.

    Raises:
        UserError: when the network was built for other data.
    """
    refuse_misfit(net, form)
    factor = lr_factor(recipe.lr_schedule, check_optimizer(recipe.optimizer, "optimizer"))
    augmentations = augmentations_of(
        recipe, Context(form.shape, form.task.columns, task=form.task, statistics=statistics)
    )
    return module_of(net, recipe, makers(recipe.optimizer, {}), augmentations, factor)
