"""Builds the LightningModule of a validated recipe, for data of a given shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ffcore.build.attributes import own_schedule
from ffcore.build.components import make
from ffcore.build.form import Form
from ffcore.build.given import augmentations_of, module_of
from ffcore.build.memory import refuse
from ffcore.build.network import NetworkBuilder
from ffcore.build.optimizers import check_optimizer, lr_factor, makers
from ffcore.engine.module import ForwardOnly
from ffcore.engine.seeding import SEEDING
from ffcore.errors import UserError, at_path, closest
from ffcore.interfaces import Algorithm, Context, LayerContribution, Progress, Schedule, Statistics
from ffcore.local import LocalNetwork
from ffcore.local.dry_run import set_up_algorithm
from ffcore.local.optimizers import refuse_accumulated
from ffcore.local.overlap import refuse_overlap_in_windows
from ffcore.local.stages import refuse_targets
from ffcore.network import Network
from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import Kind
from ffcore.recipe.start import StartConfig
from ffcore.tasks import Classification


def assemble(
    recipe: Recipe,
    shape: tuple[int, ...],
    classes: int,
    superclasses: Sequence[int] | None = None,
    statistics: Statistics | None = None,
) -> ForwardOnly:
    """Build all parts of a recipe for float samples with one class each; see `assembled_for`.

    Args:
        recipe: the validated recipe.
        shape: shape of one sample.
        classes: number of classes K.
        superclasses: super-class of each class, if the data set has them; those of the recipe take
            precedence.
        statistics: see `assembled_for`.
    """
    groups = None if superclasses is None else tuple(superclasses)
    return assembled_for(recipe, Form(shape, Classification(classes), superclasses=groups), statistics)


def assembled_for(recipe: Recipe, form: Form, statistics: Statistics | None = None) -> ForwardOnly:
    """Build all parts of a recipe. The initial weights depend only on its seed.

    Args:
        recipe: the validated recipe.
        form: shape and type of the samples, and the task.
        statistics: statistics of the training samples; None if the data have not been read. Augmentations are
            then not set up.

    Raises:
        UserError: with the path in the recipe, when the parts do not fit together or do not fit the data.
    """
    task, classes = form.task, form.task.columns
    factor = lr_factor(recipe.lr_schedule, check_optimizer(recipe.optimizer, "optimizer"))
    context = Context(
        form.shape,
        classes,
        task=task,
        superclass_of=_superclasses(recipe, classes, form.superclasses),
        readouts=tuple(recipe.readouts),
        statistics=statistics,
    )
    # The caller's random state is restored. The order of the parts below determines the weights.
    with SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        algorithm: Algorithm = make(recipe.algorithm, "algorithm")
        with at_path("algorithm"):
            refuse_targets(algorithm, task)
            in_shape = set_up_algorithm(algorithm, context)
            if form.plain:
                refuse(math.prod(in_shape) * 8, f"an input of shape {in_shape}, from its setup,")
                x = torch.zeros(2, *in_shape)
            else:
                x = algorithm.neutral(form.example()).x
        builder = NetworkBuilder(recipe, algorithm, x, task, context.superclass_of)
        network = builder.build()
        _freeze(network, recipe.start)
        schedule: Schedule = make(recipe.schedule or own_schedule(algorithm), "schedule")
        combining = recipe.contribution or Kind("contribution").validate(task.contribution)
        contribution: LayerContribution = make(combining, "contribution")
        augmentations = augmentations_of(recipe, context)
    if not network.learning:
        _refuse_idle_blocks(network)
    net = Network(
        network,
        algorithm,
        contribution=contribution,
        schedule=schedule,
        shape=form.shape,
        seed=recipe.seed,
    )
    if form.plain:
        net.floats = True
    if schedule.cache:
        _refuse_to_cache(recipe, algorithm, network)
    epochs = recipe.trainer.max_epochs
    _refuse_idle_fits(network, schedule, epochs)
    with at_path("schedule"):  # the checks above have planned other epochs
        network.plan(schedule.windows(Progress(0, 0, epochs), len(network.learning)))
    refuse_overlap_in_windows(network, range(len(network.stages)))
    if recipe.trainer.accumulate > 1:
        refuse_accumulated(network)
    return module_of(net, recipe, makers(recipe.optimizer, builder.optimizers), augmentations, factor)


def _superclasses(recipe: Recipe, classes: int, superclasses: Sequence[int] | None) -> torch.Tensor | None:
    own = recipe.data.groups
    if own is not None and len(own) != classes:
        raise UserError(f"data.groups: {len(own)} numbers for {classes} classes; give one for each")
    chosen = own if own is not None else superclasses
    return None if chosen is None else torch.tensor(chosen)


def _freeze(network: LocalNetwork, start: StartConfig | None) -> None:
    """Freeze the blocks of ``start.freeze``. This comes before the schedule counts blocks that learn."""
    if start is None:
        return
    learners = network.learners
    for name in [b.name for b in network.blocks] if start.freeze == "all" else start.freeze:
        if name not in learners:
            raise UserError(f"start.freeze: there is no block {name!r}{closest(name, learners)}")
        learners[name].freeze()


def _refuse_idle_blocks(network: LocalNetwork) -> None:
    """Raise if nothing learns. If all blocks are frozen by the recipe, readouts may learn alone."""
    if not any(block.frozen for block in network.blocks):
        raise UserError("network: no block has trainable parameters; add one, such as kind: dense")
    if not any(network.learners[name].trainable for name in network.readouts):
        raise UserError("start.freeze: nothing is left to learn; leave a block out of it, or add a readout")


def _refuse_to_cache(recipe: Recipe, algorithm: Algorithm, network: LocalNetwork) -> None:
    """Raise if a cache would give wrong results, because views change or other passes are needed."""
    reasons = {
        "data.augment changes samples in every epoch": bool(recipe.data.augment),
        f"{recipe.algorithm.kind}: {algorithm.whole_network}": bool(algorithm.whole_network),
        "blocks of a circuit run several times a batch": bool(network.circuits),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UserError(f"schedule.cache: {reason}; set it to false")


def _refuse_idle_fits(network: LocalNetwork, schedule: Schedule, epochs: int) -> None:
    """Raise if the recipe asks to fit a box again at a time that the run does not reach."""
    waiting = [box for box in network.boxes if box.fit_at == "finished"]
    if waiting:
        with at_path("schedule"):
            network.plan(schedule.windows(Progress(epochs - 1, 0, epochs), len(network.learning)))
        late = {box for stage in network.stages[network.finished :] for box in stage.modules()}
        for box in waiting:
            if box in late:
                raise UserError(
                    f"{box.where}: fit: finished: with this schedule blocks before it learn until the end; "
                    "set an epoch, or use a greedy schedule"
                )
    for box in network.boxes:
        if isinstance(box.fit_at, int) and box.fit_at >= epochs:
            raise UserError(f"{box.where}: fit: {box.fit_at}: the run has {epochs} epochs")
