"""What two blocks of a network must not share: parameters, and components that keep values of their block."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Component
from ffcore.local.block import LocalBlock

Homes = dict[nn.Module, tuple[str, dict[str, Any]]]
"""Components that have been set up: the name of the first block of each, and the values that it had there."""


def refuse_shared(blocks: Iterable[LocalBlock]) -> None:
    """Raise if two blocks share a parameter, which both would step, or if a block has another network.

    Raises:
        UserError: with the names of both blocks.
    """
    owners: dict[nn.Parameter, LocalBlock] = {}
    for i, block in enumerate(blocks):
        name = block.name or f"block{i + 1}"
        if block.info is not None:
            raise UserError(
                f"network: block {name} belongs to another network already; copy it, or make a new one"
            )
        for key, parameter in block.named_parameters():
            if owners.setdefault(parameter, block) is not block:
                other = owners[parameter].name or "an earlier block"
                raise UserError(
                    f"network: block {name} shares its parameter {key} with {other}: each would step it; use "
                    "one block for both, or a copy of the module"
                )


def refuse_shared_components(block: LocalBlock, homes: Homes) -> None:
    """Raise if another block has the same component, and its setup has given it other values there.

    Args:
        block: has been set up.
        homes: the components of the blocks before, each with the name of its block and its values.

    Raises:
        UserError: with both blocks.
    """
    loss = block.loss.modules() if block.loss is not None else ()
    for part in {block.goodness, block.handoff, block.rule, *loss}:
        if not isinstance(part, Component):
            continue
        own = {**vars(part), **part._parameters, **part._buffers, **part._modules}
        name, before = homes.setdefault(part, (block.name, own))
        if name != block.name and not all(key in before and _same(before[key], own[key]) for key in own):
            raise UserError(
                f"network: blocks {name} and {block.name} have the same {type(part).__name__}, which keeps "
                "values of its block: give each one of its own"
            )


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
    return isinstance(one, str | int | float | tuple) and bool(one == other)
