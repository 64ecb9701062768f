"""A pass over zeros that finds the blocks, their shapes and names, and gives their components a place.

R rows; K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Block, BlockInfo, Component, Goodness, Out, Readout, Views
from ffcore.interfaces.structure import rows
from ffcore.local.block import LocalBlock
from ffcore.local.loss import GoodnessLoss
from ffcore.local.modes import evaluating
from ffcore.local.passes import Pass


@dataclass(frozen=True, slots=True)
class Found:
    """What the pass has seen of a block: shape of one sample of its input and handoff, and an activity."""

    in_shape: tuple[int, ...]
    handoff: tuple[int, ...]
    activity: Tensor


def explore(body: nn.Module, stages: Sequence[nn.Module], x: Any) -> dict[LocalBlock, Found]:
    """The blocks in the order of their first call.

    Args:
        body: the module that the stages are parts of; it is in evaluation mode meanwhile.
        stages: what a pass goes through.
        x: (R, *shape) rows, or a tuple or mapping of such.

    Raises:
        UserError: when no block is called.
    """
    found: dict[LocalBlock, Found] = {}

    def note(block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views) -> None:
        given = tuple(inputs[0].shape[1:]) if inputs else ()
        found.setdefault(cast(LocalBlock, block), Found(given, tuple(out.handoff.shape[1:]), out.activity))

    with evaluating(body), torch.no_grad():
        Pass(Views(x, ("dry-run",), (rows(x),)), (note,)).run(stages, x)
    if not found:
        raise UserError("network: it calls no local block, so there is nothing that could learn")
    return found


def bind(found: Mapping[LocalBlock, Found], taken: set[str], classes: int, group_of: Tensor | None) -> None:
    """Name the blocks and tell their components where they are (`BlockInfo`).

    Args:
        found: see `explore`.
        taken: names that blocks may not have.
        classes: number of classes K.
        group_of: (K,) super-class of each class, if there are any.

    Raises:
        UserError: when a name is taken, or a component does not fit its place.
    """
    blocks = tuple(found)
    judging = [block.goodness is not None for block in blocks]
    names = set(taken)
    for depth, block in enumerate(blocks):
        block.name = block.name or f"block{depth + 1}"
        if block.name in names:
            raise UserError(f"network: the name {block.name!r} is taken twice; names are unique")
        names.add(block.name)
        info = BlockInfo(
            *(block.name, depth, len(blocks), tuple(found[block].activity.shape[1:]), classes),
            group_of=group_of,
            rank=sum(judging[:depth]),
            ranks=sum(judging),
            auxiliary=block.loss is not None and type(block.loss) is not GoodnessLoss,
            in_shape=found[block].in_shape,
        )
        _bind(block, info, found[block].activity)


def connect(readouts: Mapping[str, LocalBlock], found: Mapping[LocalBlock, Found], classes: int) -> Taps:
    """Let the readouts choose the blocks that they read: blocks by the readout's name."""
    blocks = {block.name: block for block in found}
    infos = [block.info for block in found if block.info is not None]
    taps = {}
    for name, readout in readouts.items():
        body = cast(Readout, readout.body)
        taps[name] = tuple(blocks[tap] for tap in body.connect(infos, [f.handoff for f in found.values()]))
        readout.info = BlockInfo(name, len(blocks), len(blocks), (classes,), classes)
    return taps


Taps = dict[str, tuple[LocalBlock, ...]]
"""Blocks whose handoff a readout reads, by the readout's name."""


def _bind(block: LocalBlock, info: BlockInfo, activity: Tensor) -> None:
    try:
        for part in (block.body, block.handoff, block.rule, block.goodness):
            if isinstance(part, Component):
                part.bind(info)
        block.to(activity.device)  # what they have made: a model that is localized may lie on a GPU
        if block.goodness is not None:
            unit, column_of = _unit_goodness(block.goodness, activity, info.classes), block.goodness.column_of
            info = replace(info, unit_goodness=unit, column_of=column_of, goodness=block.goodness)
        block.info = info
        if block.loss is not None:
            block.loss.bind(info)
            block.loss.to(activity.device)
    except ValueError as error:
        raise UserError(f"network: block {info.name}: {error}") from error


def _unit_goodness(goodness: Goodness, activity: Tensor, classes: int) -> float:
    """The mean goodness of ones in the shape of an activity, in evaluation mode.

    Raises:
        ValueError: when a goodness has another shape than its kind says.
    """
    with evaluating(goodness), torch.no_grad():
        made = goodness(torch.ones_like(activity))
    energy = goodness.kind == "energy"
    if made.dim() != (1 if energy else 2) or len(made) != len(activity):
        right = "(R,)" if energy else "(R, K)"
        raise ValueError(
            f"the goodness of {len(activity)} rows has shape {tuple(made.shape)}; kind {goodness.kind!r} "
            f"means {right}"
        )
    if not energy:
        column_of = goodness.column_of
        wanted = classes if column_of is None else int(column_of.max()) + 1
        if made.shape[1] != wanted:
            raise ValueError(
                f"its goodness has {made.shape[1]} columns, where {classes} classes need {wanted}"
            )
    return float(made.float().mean())
