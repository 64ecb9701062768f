"""The dry run, a pass that finds the blocks and their shapes, and the setup of components after it.

R rows; K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, cast

import torch
from torch import Tensor, nn

from ffcore.blame import foreign_places, located, title
from ffcore.errors import UserError, expect
from ffcore.interfaces import (
    Algorithm,
    Block,
    Circuit,
    Component,
    Context,
    Goodness,
    LocalLoss,
    Objective,
    Out,
    Penalty,
    Readout,
    Task,
    Views,
)
from ffcore.interfaces.modes import evaluating
from ffcore.interfaces.structure import rows
from ffcore.local.block import LocalBlock, Takes
from ffcore.local.box import BoxStage
from ffcore.local.box_use import counted_as
from ffcore.local.loss import HeadLoss, PenaltyLoss, scores_of
from ffcore.local.passes import Pass
from ffcore.local.sharing import Homes, refuse_shared_components

_ATTRIBUTES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "whole_network": (str, "text: the reason"),
    "measures_in_parts": (bool, "a boolean"),
    "hypotheses": (bool, "a boolean"),
    "accepts": ((frozenset, set, tuple, list), "a frozenset of forms of goodness"),
}
"""Types of the attributes of algorithms, and their names for messages."""


_OBJECTIVES = {
    "class": "use one such as cross-entropy",
    "labels": "use one such as binary-cross-entropy",
    "values": "use one such as squared-error or huber",
    "none": "use one that needs no targets, such as logistic",
}
"""What to do about an objective that does not read the targets of a task."""


@dataclass(frozen=True, slots=True)
class Found:
    """Result of the dry run for one block: shapes of one sample of its input and handoff, and an activity.

    ``calls`` has shape and dtype of each input of every call, by its index among the calls of a pass.
    """

    in_shape: tuple[int, ...]
    handoff: tuple[int, ...]
    activity: Tensor
    calls: dict[int, Takes] = field(default_factory=dict)


def explore(
    body: nn.Module, stages: Sequence[nn.Module], x: Any, task: Task, superclass_of: Tensor | None
) -> dict[LocalBlock, Found]:
    """Run a pass and return the blocks in the order of their first call.

    Black boxes are set up when the pass reaches them.

    Args:
        body: the module that contains the stages; it is in evaluation mode during the pass.
        stages: the stages of the pass, in order.
        x: (R, *shape) rows, or a tuple or mapping of such.
        task: what the targets are.
        superclass_of: (K,) super-class of each class, or None.

    Raises:
        UserError: when no block is called, or a black box refuses its input.
    """
    found: dict[LocalBlock, Found] = {}
    indices = count()

    def note(block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views) -> None:
        if block.goodness is not None and len(out.activity) != rows(x):
            name, made = block.name or f"block{len(found) + 1}", tuple(out.activity.shape)
            raise UserError(
                f"network: block {name}: its activity {made} should have a row for each of the {rows(x)} "
                "samples; recurrent layers of torch need batch_first=True"
            )
        in_shape = tuple(inputs[0].shape[1:]) if inputs else ()
        handoff = tuple(out.handoff.shape[1:])
        seen = found.setdefault(cast(LocalBlock, block), Found(in_shape, handoff, out.activity))
        seen.calls[next(indices)] = tuple((tuple(x.shape[1:]), x.dtype) for x in inputs)

    def place(stage: nn.Module, args: tuple[Any, ...]) -> None:
        shape = tuple(args[0].shape[1:])
        cast(BoxStage, stage).place(
            Context(shape, task.columns, task=task, name=cast(str, stage.name), superclass_of=superclass_of)
        )
        stage.to(args[0].device)  # buffers that the box has made in its setup

    boxes = [part for part in body.modules() if isinstance(part, BoxStage)]
    with ExitStack() as hooks, evaluating(body), torch.no_grad(), counted_as("building"):
        for box in boxes:
            hooks.callback(box.register_forward_pre_hook(place).remove)
        Pass(Views(x, ("dry-run",), (rows(x),)), (note,)).run(stages, x)
    if not found:
        of = "".join(f"; {place} ({place.file})" for place in foreign_places(body.modules()))
        raise UserError(f"network: it does not call any local block, so nothing can learn{of}")
    circuits = [stage for stage in stages if isinstance(stage, Circuit)]  # these may call a block later
    known = {part for each in (*found, *circuits) for part in each.modules()}
    for name, part in (each for stage in stages for each in stage.named_modules()):
        # one with ``info`` belongs to a trained network, which is a part of this one
        if isinstance(part, LocalBlock) and part.info is None and part not in known:
            raise UserError(f"network: the local block {name} is not called in a pass with the example")
    return found


def set_up(
    found: Mapping[LocalBlock, Found], taken: set[str], task: Task, superclass_of: Tensor | None
) -> None:
    """Name the blocks and call `Component.setup` of their components.

    Args:
        found: see `explore`.
        taken: names that blocks may not have.
        task: what the targets are.
        superclass_of: (K,) super-class of each class, or None.

    Raises:
        UserError: when a name is taken, or a component raises a ValueError.
    """
    blocks = tuple(found)
    judging = [block.goodness is not None for block in blocks]
    names = set(taken)
    homes: Homes = {}
    for depth, block in enumerate(blocks):
        block.name = block.name or f"block{depth + 1}"
        if block.name in names:
            raise UserError(f"network: the name {block.name!r} is taken twice; names are unique")
        names.add(block.name)
        block.calls = found[block].calls
        _refuse_targets(block, task)
        block.features = task.features if block.goodness is not None else None
        context = Context(
            tuple(found[block].activity.shape[1:]),
            task.columns,
            task=task,
            name=block.name,
            depth=depth,
            blocks=len(blocks),
            superclass_of=superclass_of,
            in_shape=found[block].in_shape,
            handoff_shape=found[block].handoff,
            rank=sum(judging[:depth]),
            ranks=sum(judging),
            auxiliary=block.loss is not None and block.loss.auxiliary,
        )
        _set_up_block(block, context, found[block].activity)
        refuse_shared_components(block, homes)


def set_up_readouts(
    readouts: Mapping[str, LocalBlock],
    found: Mapping[LocalBlock, Found],
    task: Task,
    superclass_of: Tensor | None,
) -> Taps:
    """Set up the readouts; return the blocks that each of them has chosen, by the readout's name.

    Raises:
        UserError: when a readout does not return names of blocks.
    """
    if readouts and task.target == "none":
        raise UserError(f"readouts.{next(iter(readouts))}: learns from targets, but the task has none")
    blocks = {block.name: block for block in found}
    features = tuple(block.info for block in found if block.info is not None)
    taps = {}
    for name, readout in readouts.items():
        depth = len(blocks)
        place = Context(
            (task.columns,),
            task.columns,
            task=task,
            name=name,
            depth=depth,
            blocks=depth,
            superclass_of=superclass_of,
        )
        body = cast(Readout, readout.body)
        body.task = task
        chosen = body.setup(replace(place, features=features))
        if not isinstance(chosen, tuple | list) or not blocks.keys() >= set(chosen):
            raise UserError(
                f"readouts.{name}: its setup returned {chosen!r}; it should return names of blocks, of which "
                f"there are {', '.join(blocks)}"
            )
        taps[name] = tuple(blocks[tap] for tap in chosen)
        _convert(body, next(iter(found.values())).activity)
        readout.info = place
        readout.rule.setup(place)
    return taps


def set_up_heads(heads: Mapping[str, LocalBlock], found: Mapping[LocalBlock, Found], task: Task) -> None:
    """Set up the heads, whose activity is the logits (R, K).

    Raises:
        UserError: when a head does not return a logit for each class.
    """
    depth = len(found) - len(heads)
    for name, head in heads.items():
        head.features = task.features
        shape = tuple(scores_of(found[head].activity, task.features).shape[1:])
        if shape[-1:] != (task.columns,) or (task.features is None and len(shape) != 1):
            raise UserError(
                f"head {name}: returns {shape} for each sample; it should return {task.columns} logits"
            )
        if isinstance(head.loss, HeadLoss):
            head.loss.task = task
        head.info = Context(shape, task.columns, task=task, name=name, depth=depth, blocks=depth)


Taps = dict[str, tuple[LocalBlock, ...]]
"""Blocks whose handoff a readout reads, by the readout's name."""


def set_up_algorithm(algorithm: Algorithm, context: Context) -> tuple[int, ...]:
    """Set up an algorithm and return the shape of one input of the network.

    Raises:
        ValueError: when the data do not fit, the algorithm does not return a shape, or one of its attributes
            has another type.
    """
    shape: Any = algorithm.setup(context)
    for name, (types, right) in _ATTRIBUTES.items():
        expect(f"algorithm: {name} of {title(algorithm)}", getattr(algorithm, name), types, right)
    if shape == context.shape:  # also that of several inputs
        return context.shape
    if not isinstance(shape, Sequence) or not all(isinstance(side, int) for side in shape):
        raise ValueError(
            f"its setup returned {shape!r}; it should return the shape of one input of the network, such as "
            "context.shape"
        )
    return tuple(shape)


def _set_up_block(block: LocalBlock, context: Context, activity: Tensor) -> None:
    with _errors_named(context.name):
        for part in (block.body, block.handoff, block.rule):
            if isinstance(part, Component):
                part.setup(context)
        if block.goodness is not None:
            block.goodness.setup(_of_rows(context, block.features, block.goodness.reads_views))
    block.to(activity.device)  # parameters made in setup: a localized model may be on a GPU already
    if block.goodness is not None:
        _convert(block.goodness, activity)
        context = replace(
            context,
            goodness=block.goodness,
            unit_goodness=_unit_goodness(block, activity, context),
            column_of=block.goodness.column_of,
        )
    block.info = context
    if block.loss is not None:
        with _errors_named(context.name):
            _set_up_loss(block.loss, context)
        _convert(block.loss, activity)


def _convert(part: nn.Module, activity: Tensor) -> None:
    """Move what a setup has made to the device, and from the default dtype to that of a model in another."""
    other = activity.is_floating_point() and activity.dtype != torch.get_default_dtype()
    part.to(activity.device, activity.dtype if other else None)


def _of_rows(context: Context, features: int | None, reads_views: bool) -> Context:
    """Return the context of a goodness, whose rows are positions in a task by position.

    Raises:
        ValueError: when an activity has no positions, or the goodness reads the views.
    """
    if features is None:
        return context
    if reads_views:
        raise ValueError("its goodness compares rows of a pass; in a task by position use another one")
    if len(context.shape) < 2:
        raise ValueError(
            f"its activity {context.shape} has no positions, but every position has a target: use bodies "
            "that keep the positions, such as a linear layer on (T, D) or a convolution"
        )
    return replace(context, shape=(context.shape[features],))


def _refuse_targets(block: LocalBlock, task: Task) -> None:
    """Raise if the loss of a block cannot read the targets of the task.

    Raises:
        UserError: with the objective or the penalty.
    """
    if isinstance(block.loss, HeadLoss) and task.target == "none":
        raise UserError(f"head {block.name}: learns from targets, but the task has none")
    if block.loss is not None and block.loss.reads_classes:
        _refuse_other_than_classes(block, "loss", block.loss, task)
    if not isinstance(block.loss, PenaltyLoss):
        return
    objective = getattr(block.loss, "objective", None)
    if objective is not None and not {task.target, "none"} & objective.reads:
        read = " or ".join(sorted(objective.reads))
        raise UserError(
            f"objective: block {block.name}: {title(objective)} reads targets of the sort {read}; those of "
            f"the task {type(task).__name__} are {task.target}: {_OBJECTIVES[task.target]}"
        )
    for name, each in block.loss.penalties.items():
        penalty = cast(Penalty, each)
        if penalty.reads_classes:
            _refuse_other_than_classes(block, f"penalties.{name}", penalty, task, penalty.reads_positions)


def _refuse_other_than_classes(
    block: LocalBlock, path: str, part: nn.Module, task: Task, positions: bool = False
) -> None:
    if task.target != "class" or not (task.features is None or positions):
        raise UserError(
            f"{path}: block {block.name}: {title(part)} needs one class a sample; those of the task "
            f"{type(task).__name__} are others"
        )


@contextmanager
def _errors_named(block: str) -> Iterator[None]:
    """Raise a UserError with the block's name for a ValueError of a component's setup."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"network: block {block}: {error}{located(error)}") from error


def _set_up_loss(loss: LocalLoss, context: Context) -> None:
    """Set up the loss and its parts."""
    # set here, not in Objective.setup, so that subclasses need not call super().setup()
    for part in loss.modules():
        if isinstance(part, Objective):
            part.column_of = context.column_of
    if isinstance(loss, PenaltyLoss):
        for term in loss.parts:
            term.setup(context)
    loss.setup(context)


def _unit_goodness(block: LocalBlock, activity: Tensor, context: Context) -> float:
    """Return the mean goodness of an activity of ones, in evaluation mode.

    Raises:
        UserError: when the shape of the goodness does not match its form, or columns are missing.
    """
    goodness = cast(Goodness, block.goodness)
    with evaluating(goodness), torch.no_grad():
        made = cast(Tensor, block.judge(torch.ones_like(activity)))
    if goodness.form != "energy":
        column_of = goodness.column_of
        wanted = context.classes if column_of is None else int(column_of.max()) + 1
        if made.shape[-1] != wanted:
            raise UserError(
                f"network: block {context.name}: its goodness {title(goodness)} has {made.shape[-1]} "
                f"columns, where {context.classes} classes need {wanted}"
            )
    return float(made.float().mean())
